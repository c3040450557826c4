"""The routes of a template: which function serves a request, as an HTTP API finds it (docs/gateway.md)."""

from collections.abc import Iterable

from local.template import DEFAULT_ROUTE, Function, TemplateError


class Routes:
    """Which function serves a request."""

    def __init__(self, functions: Iterable[Function]) -> None:
        self._default: tuple[str, str] | None = None
        self._by_shape: dict[tuple[str, int], list[tuple[list[str], str, str]]] = {}
        self._greedy: list[tuple[str, str, str, str, str]] = []
        for function in functions:
            for key in function.routes:
                self._add(key, function.logical_id)
        for candidates in self._by_shape.values():
            # a literal segment beats a variable, from the left
            candidates.sort(key=lambda candidate: [_is_variable(segment) for segment in candidate[0]])

    def _add(self, key: str, logical_id: str) -> None:
        if key == DEFAULT_ROUTE:
            self._default = key, logical_id
            return
        method, _, path = key.partition(" ")
        if method == "ANY":
            raise TemplateError(f"{logical_id}: the local gateway has no ANY method ({key})")
        if path.endswith("+}"):
            self._add_greedy(key, method, path, logical_id)
            return
        segments = path.split("/")
        self._by_shape.setdefault((method, len(segments)), []).append((segments, key, logical_id))

    def _add_greedy(self, key: str, method: str, path: str, logical_id: str) -> None:
        before, _, variable = path.rpartition("/")
        if "{" in before:
            raise TemplateError(f"{logical_id}: the local gateway has no variable before a greedy one ({key})")
        self._greedy.append((method, f"{before}/", variable[1:-2], key, logical_id))
        self._greedy.sort(key=lambda route: -len(route[1]))

    def find(self, method: str, path: str) -> tuple[str, str, dict[str, str]] | None:
        """Route key, logical id and path parameters of the route for a decoded path; None where there is no route."""
        wanted = path.split("/")
        for segments, key, logical_id in self._by_shape.get((method, len(wanted)), ()):
            parameters: dict[str, str] = {}
            for segment, given in zip(segments, wanted, strict=True):
                if _is_variable(segment) and given:
                    parameters[segment[1:-1]] = given
                elif segment != given:
                    break
            else:
                return key, logical_id, parameters
        for its_method, before, variable, key, logical_id in self._greedy:
            if its_method == method and path.startswith(before) and path != before:
                return key, logical_id, {variable: path.removeprefix(before)}
        return None if self._default is None else (*self._default, {})


def _is_variable(segment: str) -> bool:
    return segment.startswith("{")
