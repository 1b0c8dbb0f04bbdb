"""The configuration of Envoy."""

TYPES = "type.googleapis.com/envoy.extensions.filters"


def envoy_config(
    port: int, primary: int, shadow: int, *, is_mirror: bool, timeout_seconds: float
) -> dict[str, object]:
    """Forward to *primary*; with *is_mirror* also to *shadow*. The route's time-out is the copy's too."""
    route: dict[str, object] = {"cluster": "primary", "timeout": f"{timeout_seconds:g}s"}
    if is_mirror:
        route["request_mirror_policies"] = [{"cluster": "shadow"}]
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"}}
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "static_resources": {
            "listeners": [{"address": _address(port), "filter_chains": [{"filters": filters}]}],
            "clusters": [_cluster("primary", primary), _cluster("shadow", shadow)],
        }
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int) -> dict[str, object]:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
