"""Shell commands, broken into lines that can be copied back."""

import re

_WORD = re.compile(r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+""", re.DOTALL)


def command_lines(command: str, width: int) -> tuple[str, ...]:
    r"""*command* in lines of at most *width* characters where its words allow, joined by a backslash each.

    Pasted into a shell, the lines are the same command. One whose quotes do not match stays one line.
    """
    words = _WORD.findall(command)
    if " ".join(words) != command:
        return (command,)
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) + len(" ") + len(" \\") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return tuple(f"{line} \\" for line in lines[:-1]) + tuple(lines[-1:])
