"""Writes stored runs into an MLflow tracking store: a folder, or whatever a tracking URI names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from refers_bench.analysis.tracked_runs import TrackedRun
from refers_bench.errors import UserError
from refers_bench.render import extras

#: Tag by which a run is found again.
KEY = "refers_bench.key"
#: Most points and parameters of one call, and signs of a value and of a name, that every store takes.
_POINTS, _PARAMS, _LONGEST, _NAME = 500, 100, 5000, 240
#: Runs that are listed at once.
_PAGE = 1000


def check() -> None:
    """Refuse early.

    Raises:
        UserError: MLflow is not installed.
    """
    _package()


def _package() -> tuple[Any, ...]:
    # Folders are stores in maintenance, which MLflow opens on request alone; nothing of a run is reported to others.
    os.environ.update(MLFLOW_ALLOW_FILE_STORE="true", MLFLOW_DISABLE_TELEMETRY="true")
    return extras.imported("MLflow", "mlflow", "mlflow", "mlflow.entities", "mlflow.exceptions")


class Store:
    """An experiment of an MLflow store.

    Args:
        uri: tracking URI.
        experiment: its name; made where it is not there.

    Raises:
        UserError: MLflow is not installed, or does not open the store.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        mlflow, self._entities, exceptions = _package()
        self._refused = exceptions.MlflowException
        try:
            self._client = mlflow.MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment = found.experiment_id if found else self._client.create_experiment(experiment)
            self._known = self._listed()
        except (self._refused, ImportError, OSError) as error:
            first = str(error).strip().split("\n")[0]
            raise UserError(f"MLflow does not open '{uri}': {first}", allowed="a store it can write to") from error

    def _listed(self) -> dict[str, list[tuple[str, str]]]:
        """Key -> (id, status) of the experiment's runs; asked for once, since a folder is searched whole each time."""
        known: dict[str, list[tuple[str, str]]] = {}
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=_PAGE, page_token=token)
            for one in page:
                known.setdefault(one.data.tags.get(KEY, ""), []).append((one.info.run_id, one.info.status))
            token = page.token
            if not token:
                return known

    def write(self, run: TrackedRun) -> bool:
        """Write a run; one that is there whole is left alone, one that was cut off is written anew.

        Returns:
            Whether it was written.

        Raises:
            UserError: MLflow refuses it.
        """
        try:
            return self._write(run)
        except self._refused as error:
            raise UserError(
                f"MLflow refuses the run '{run.name}': {error}", allowed="a store it can write to"
            ) from error

    def _write(self, run: TrackedRun) -> bool:
        client, entities = self._client, self._entities
        for run_id, status in self._known.get(run.key, ()):
            if status == "FINISHED":
                return False
            client.delete_run(run_id)
        tags = {**{f"refers_bench.{name}": text[:_LONGEST] for name, text in run.tags.items()}, KEY: run.key}
        made = client.create_run(self._experiment, start_time=_ms(run.start), tags=tags, run_name=run.name)
        metric, names = entities.Metric, _named([*(one.name for one in run.curves), *run.metrics])
        last = max((one.step for one in run.curves), default=0)
        points = [metric(names[one.name], one.value, _ms(one.time), one.step) for one in run.curves]
        points += [metric(names[name], value, _ms(run.end), last) for name, value in run.metrics.items()]
        params = _named(run.params)
        values = [entities.Param(params[name], _text(value)) for name, value in run.params.items()]
        for start in range(0, len(points), _POINTS):
            client.log_batch(made.info.run_id, metrics=points[start : start + _POINTS])
        for start in range(0, len(values), _PARAMS):
            client.log_batch(made.info.run_id, params=values[start : start + _PARAMS])
        client.set_terminated(made.info.run_id, "FINISHED", end_time=_ms(run.end))
        return True


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _text(value: Any) -> str:
    """A value as MLflow holds it; long ones are cut, which their end shows."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _named(names: Iterable[str] | Mapping[str, Any]) -> dict[str, str]:
    """Name -> one that MLflow takes: letters, digits and "_-. :/", no empty or dotted part; different ones stay so."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        parts = [re.sub(r"[^\w. :-]", "_", part, flags=re.ASCII).strip() for part in name.split("/")]
        fitting = base = "/".join(part if part.strip(".") else "_" for part in parts)[:_NAME]
        taken, number = set(found.values()), 2
        while fitting in taken:
            fitting, number = f"{base}-{number}", number + 1
        found[name] = fitting
    return found
