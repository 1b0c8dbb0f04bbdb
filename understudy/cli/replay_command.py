"""`understudy replay`: its options. What they mean is in `replayed`, imported when the command runs."""

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.frame import end
from understudy.cli.report_options import ReportFailOn, ReportFiles, ReportForm


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A HAR, of a browser, mitmproxy or `record`.")],
    primary: Annotated[
        str, typer.Option("--primary", metavar="URL", help="The version that users have: http://HOST:PORT.")
    ],
    candidate: Annotated[
        str, typer.Option("--candidate", metavar="URL", help="The version that shall replace it.")
    ],
    control: Annotated[
        str, typer.Option("--control", metavar="URL", help="A second deployment of the primary's version.")
    ] = "",
    control_share: Annotated[
        float | None,
        typer.Option(
            "--control-share",
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Of the requests, asked of the control too, or of the primary twice.  "
            "[default: 0.1; 1 with --control]",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.001, metavar="R", help="Requests a second.")
    ] = None,
    as_recorded: Annotated[
        bool, typer.Option("--as-recorded", help="With the gaps in which they were recorded.")
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option("--speed", min=0.001, metavar="X", help="So many times as fast as recorded."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=1024, metavar="N", help="Most requests under way.")
    ] = 8,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, max=10_000, metavar="N", help="Play the file so many times.")
    ] = 1,
    methods: Annotated[
        str, typer.Option("--methods", metavar="LIST", help="Which are asked, with commas.")
    ] = "GET,HEAD,OPTIONS",
    all_methods: Annotated[
        bool, typer.Option("--all-methods", help="Ask all, those that change something too.")
    ] = False,
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="HOST",
            help="Replay what went to HOST; repeatable.  [default: that with most requests]",
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Send this one instead; repeatable."),
    ] = None,
    credentials: Annotated[
        bool, typer.Option("--credentials", help="Send the cookies and credentials in the file.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "-c",
            "--config",
            metavar="FILE",
            envvar="UNDERSTUDY_CONFIG",
            help="A configuration: its compare rules and redaction count.",
        ),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="Or a rules document: its compare rules.")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="Authorities that vouch for https:// services, in PEM."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Do not check the certificates of https:// services.")
    ] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for one whole answer.")
    ] = "15s",
    give_up: Annotated[
        str, typer.Option("--give-up", metavar="DURATION", help="End when a side is silent for so long.")
    ] = "60s",
    seed: Annotated[
        int, typer.Option("--seed", help="The same seed draws the same control calls and samples.")
    ] = 1,
    form: ReportForm = None,
    output: ReportFiles = None,
    fail_on: ReportFailOn = "regression",
) -> None:
    """Ask two versions the requests of a recording, and report as `report` does, without any deployment.

    Exit 0: clean, 1: regression, 2: undecided, 130: interrupted, after the report so far.
    """
    from understudy.cli import replayed

    asked = replayed.Arguments(
        file=file,
        primary=primary,
        candidate=candidate,
        control=control,
        control_share=control_share,
        rate=rate,
        as_recorded=as_recorded,
        speed=speed,
        concurrency=concurrency,
        repeat=repeat,
        methods="" if all_methods else methods,
        hosts=tuple(hosts or ()),
        header=tuple(header or ()),
        credentials=credentials,
        config=config,
        rules=rules,
        ca=ca,
        insecure=insecure,
        timeout=timeout,
        give_up=give_up,
        seed=seed,
    )
    end(replayed.run(asked, form=form, files=output or (), fail_on=fail_on))
