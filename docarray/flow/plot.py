"""Plot: the wiring of a Flow as text of Mermaid, made here and sent to nobody."""

from __future__ import annotations

import json

from docarray.flow.spec import GATEWAY, DeploymentSpec, FlowSpec

__all__ = ["mermaid"]


def mermaid(spec: FlowSpec) -> str:
    """A flowchart: a box for each deployment, an arrow for each way that documents take.

    >>> from docarray.flow import Flow
    >>> print(mermaid(Flow().add(name='encode').add(name='index', shards=2).spec))
    flowchart LR
      gateway_in(["gateway"]) --> encode
      encode["encode"] --> index
      index["index<br/>2 shards"] --> gateway_out
      gateway_out(["gateway"])
    """
    lines = ["flowchart LR"]
    seen: set[str] = set()

    def node(name: str) -> str:
        if name == GATEWAY:
            return _once(seen, "gateway_in", '(["gateway"])')
        return _once(seen, name, _box(spec[name]))

    for one in spec.deployments:
        for source in one.needs:
            arrow = "-.->" if one.floating else "-->"
            label = f"|{_quoted(json.dumps(dict(one.when)))}|" if one.when is not None else ""
            lines.append(f"  {node(source)} {arrow}{label} {one.name}")
    last = spec.last
    lines.append(f"  {node(last)} --> gateway_out")
    lines.extend(f"  {node(one.name)}" for one in spec.deployments if one.name not in seen)
    lines.append('  gateway_out(["gateway"])')
    return "\n".join(lines)


def _once(seen: set[str], name: str, shape: str) -> str:
    if name in seen:
        return name
    seen.add(name)
    return name + shape


def _box(one: DeploymentSpec) -> str:
    more = [
        *([f"{one.shards} shards"] if one.shards > 1 else []),
        *([f"{one.replicas} replicas"] if one.replicas > 1 else []),
        *(["external"] if one.external else []),
    ]
    return f'["{"<br/>".join([one.name, *more])}"]'


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "#quot;") + '"'
