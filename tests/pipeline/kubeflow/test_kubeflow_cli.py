"""`lungseg kubeflow`: what it says, with which exit code, and that it keeps secrets."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from loaded_modules import SLOW_TO_IMPORT, run_and_list_modules

from pipeline.errors import UserError
from pipeline.kubeflow.cron import check_cron, cron_in_words

Kubeflow = Any
Lungseg = Callable[..., tuple[int, str, str]]
WritePipeline = Callable[..., Path]

CRON = "0 0 2 * * 1"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def test_help_loads_nothing_that_takes_time() -> None:
    output, modules = run_and_list_modules("kubeflow", "--help")
    assert all(command in output for command in ("submit", "schedule"))
    assert modules & (SLOW_TO_IMPORT | {"yaml", "cron_descriptor"}) == set()


@pytest.mark.parametrize("command", ["submit", "schedule set", "schedule list", "schedule pause", "schedule delete"])
def test_each_command_has_help(lungseg: Lungseg, command: str) -> None:
    code, output, errors = lungseg("kubeflow", *command.split(), "--help")
    assert (code, errors) == (0, "")
    assert f"lungseg kubeflow {command}" in output


def test_submit(kubeflow: Kubeflow, lungseg: Lungseg, write_pipeline: WritePipeline) -> None:
    path = write_pipeline()
    options = ("--param", "epochs=3", "--param", "data_root=s3://a=b", "--pipeline-root", "minio://x/y")
    code, output, errors = lungseg(
        "kubeflow", "submit", path, "--host", kubeflow.host, "--experiment", "trials", *options
    )
    assert (code, errors) == (0, "")
    assert output == (f"run run-4 of lungseg, version {digest(path)}\n{kubeflow.host}/#/runs/details/run-4\n")
    assert kubeflow.sent("/experiments") == {"display_name": "trials"}
    assert kubeflow.sent("/runs")["runtime_config"] == {
        "parameters": {"epochs": 3, "data_root": "s3://a=b"},
        "pipeline_root": "minio://x/y",
    }


def test_the_pipelines_own_root_is_told_to_kubeflow(
    kubeflow: Kubeflow, lungseg: Lungseg, write_pipeline: WritePipeline
) -> None:
    path = write_pipeline()
    path.write_text(f"defaultPipelineRoot: s3://bucket/lungseg\n{path.read_text()}")
    lungseg("kubeflow", "submit", path, "--host", kubeflow.host)
    assert kubeflow.sent("/runs")["runtime_config"]["pipeline_root"] == "s3://bucket/lungseg"


def test_a_root_that_kubeflow_does_not_take(lungseg: Lungseg, write_pipeline: WritePipeline) -> None:
    options = ("--host", "http://localhost:1", "--pipeline-root", "/mnt/artifacts")
    code, _, errors = lungseg("kubeflow", "submit", write_pipeline(), *options)
    assert code == 2
    assert errors == "lungseg: --pipeline-root /mnt/artifacts: Kubeflow takes minio://, s3:// and gs://\n"


def test_the_experiment_is_called_like_the_pipeline(
    kubeflow: Kubeflow, lungseg: Lungseg, write_pipeline: WritePipeline
) -> None:
    lungseg("kubeflow", "submit", write_pipeline("mine"), "--host", kubeflow.host)
    assert kubeflow.sent("/experiments") == {"display_name": "mine"}


def test_a_schedule_from_first_to_last(kubeflow: Kubeflow, lungseg: Lungseg, write_pipeline: WritePipeline) -> None:
    path = write_pipeline()

    def call(*arguments: object) -> str:
        code, output, errors = lungseg("kubeflow", "schedule", *arguments, "--host", kubeflow.host)
        assert (code, errors) == (0, "")
        return output

    def put(cron: str = CRON) -> str:
        return call("set", path, "--name", "weekly [1] :x:", "--cron", cron, "--param", "epochs=3")

    what = f"lungseg, version {digest(path)}\n"
    assert put() == f"schedule weekly [1] :x: created: At 02:00, only on Monday: {what}"
    assert put("0  0 2 *  * 1 ") == f"schedule weekly [1] :x: unchanged: At 02:00, only on Monday: {what}"
    assert put("0 30 3 * * ?") == f"schedule weekly [1] :x: replaced: At 03:30: {what}"
    assert call("pause", "weekly [1] :x:") == "schedule weekly [1] :x: paused\n"
    (row,) = [line for line in call("list").splitlines() if "weekly" in line]
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells == ["weekly [1] :x:", "At 03:30", "paused", digest(path), "epochs=3", "2026-11-30 02:00"]
    assert call("resume", "weekly [1] :x:") == "schedule weekly [1] :x: resumed\n"
    assert [status for _, status in kubeflow.states()] == ["ENABLED"]
    assert call("delete", "weekly [1] :x:") == "schedule weekly [1] :x: deleted\n"
    assert kubeflow.recurring == []
    assert call("list") == "no schedules\n"


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ({"cron_schedule": {"cron": "@every 1h"}}, "@every 1h"),
        ({"cron_schedule": {"cron": "0 2 * * 1"}}, "0 2 * * 1"),
        ({"periodic_schedule": {"interval_second": "60"}}, "not by cron"),
    ],
)
def test_schedules_made_by_hand_are_listed(
    kubeflow: Kubeflow, lungseg: Lungseg, trigger: dict[str, Any], words: str
) -> None:
    run = {"recurring_run_id": "x", "display_name": "hand", "status": "ENABLED", "trigger": trigger}
    kubeflow.recurring.append(run)
    _, output, _ = lungseg("kubeflow", "schedule", "list", "--host", kubeflow.host)
    assert re.search(rf"hand +│ {re.escape(words)} +│ active", output)


def test_a_schedule_whose_run_is_under_way(kubeflow: Kubeflow, lungseg: Lungseg, write_pipeline: WritePipeline) -> None:
    kubeflow.tag = "2.15.2"
    options = ("--name", "weekly", "--cron", CRON, "--host", kubeflow.host)
    lungseg("kubeflow", "schedule", "set", write_pipeline(), *options)
    recurring = kubeflow.recurring[0]
    run = {"experiment_id": recurring["experiment_id"], "recurring_run_id": recurring["recurring_run_id"]}
    kubeflow.runs.append({**run, "run_id": "run", "display_name": "weekly 1", "state": "RUNNING"})
    again = ("kubeflow", "schedule", "set", write_pipeline(image="lungseg:2"), *options)
    code, _, errors = lungseg(*again)
    assert code == 2
    assert "--end-runs" in errors
    assert lungseg(*again, "--end-runs")[0] == 0
    assert kubeflow.runs == []
    assert lungseg("kubeflow", "schedule", "delete", "weekly", "--host", kubeflow.host, "--end-runs")[0] == 0


@pytest.mark.parametrize("command", ["submit", "schedule set"])
def test_a_server_that_starts_no_last_step(
    kubeflow: Kubeflow, lungseg: Lungseg, write_pipeline: WritePipeline, command: str
) -> None:
    path = write_pipeline()
    spec, platform = yaml.safe_load_all(path.read_text())
    spec["root"]["dag"]["tasks"]["step"]["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    path.write_text(yaml.safe_dump_all([spec, platform]))
    kubeflow.tag = "2.5.0"
    options = ("--name", "weekly", "--cron", CRON) if command == "schedule set" else ()
    call = ("kubeflow", *command.split(), path, *options, "--host", kubeflow.host)
    code, _, errors = lungseg(*call)
    assert code == 2
    assert errors == (
        f"lungseg: {kubeflow.host}: is Kubeflow Pipelines 2.5.0, which before 2.14 starts no step that is told how the "
        "others have ended: upgrade it, or compile without `notify`\n"
    )
    assert kubeflow.writes() == []
    for tag in ("2.14.0", ""):
        kubeflow.tag = tag
        assert lungseg(*call)[0] == 0


def test_dry_runs_print_and_send_nothing(kubeflow: Kubeflow, lungseg: Lungseg, write_pipeline: WritePipeline) -> None:
    path = write_pipeline()
    code, output, errors = lungseg("kubeflow", "submit", path, "--host", kubeflow.host, "--dry-run")
    assert (code, errors) == (0, "")
    assert output.startswith(
        'POST /apis/v2beta1/pipelines\n{\n  "display_name": "lungseg"\n}\n'
        f"POST /apis/v2beta1/pipelines/upload_version?name={digest(path)}&pipelineid=<pipeline_id>\n"
        '{\n  "uploadfile": "lungseg.yaml"\n}\n'
    )
    body = json.loads(output.partition("POST /apis/v2beta1/runs\n")[2])
    assert body["experiment_id"] == "<experiment_id>"
    options = ("--name", "weekly", "--cron", CRON, "--host", kubeflow.host)
    code, output, errors = lungseg("kubeflow", "schedule", "set", path, *options, "--dry-run")
    assert (code, errors) == (0, "")
    assert json.loads(output.partition("POST /apis/v2beta1/recurringruns\n")[2])["mode"] == "ENABLE"
    assert kubeflow.writes() == []
    lungseg("kubeflow", "schedule", "set", path, *options)
    code, output, errors = lungseg("kubeflow", "schedule", "set", path, *options, "--dry-run")
    assert output == f"schedule weekly unchanged: At 02:00, only on Monday: lungseg, version {digest(path)}\n"


def test_an_unreachable_server_is_one_line(unreachable: str, lungseg: Lungseg, write_pipeline: WritePipeline) -> None:
    path = write_pipeline()
    line = f"lungseg: {unreachable}: cannot be reached (NewConnectionError): check --host and the network\n"
    for command in (("submit", path), ("schedule", "list"), ("schedule", "pause", "weekly")):
        assert lungseg("kubeflow", *command, "--host", unreachable) == (2, "", line)


@pytest.mark.parametrize("status", [200, 401, 403])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_secrets_stay_secret(
    kubeflow: Kubeflow,
    lungseg: Lungseg,
    write_pipeline: WritePipeline,
    tmp_path: Path,
    status: int,
    more: tuple[str, ...],
) -> None:
    (tmp_path / "token").write_text("s3cret-token\n")
    (tmp_path / "cookies").write_text("session=s3cret-cookie\n")
    if status != 200:
        kubeflow.intercept = lambda request: kubeflow.refuse(status, json.dumps(request.headers))
    login = ("--token-file", tmp_path / "token", "--cookies-file", tmp_path / "cookies")
    code, output, errors = lungseg("kubeflow", "submit", write_pipeline(), "--host", kubeflow.host, *login, *more)
    assert code == (0 if status == 200 else 2)
    assert errors.count("\n") == (0 if status == 200 else 1)
    assert "s3cret-token" in str(kubeflow.requests[-1].headers)
    assert "s3cret" not in output + errors


def test_nothing_is_left_in_the_home_directory(
    kubeflow: Kubeflow,
    lungseg: Lungseg,
    write_pipeline: WritePipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert lungseg("kubeflow", "submit", write_pipeline(), "--host", kubeflow.host)[0] == 0
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--param", "epochs"), "--param epochs: must be NAME=VALUE"),
        (("--param", "=3"), "--param =3: must be NAME=VALUE"),
        (("--param", "epochs=1", "--param", "epochs=2"), "--param epochs: is given twice"),
        (("--param", "epochs=x"), "--param epochs=x: must be a whole number"),
        (("--host", "kubeflow"), "--host kubeflow: must be a URL, such as https://kubeflow.example/pipeline"),
    ],
)
def test_wrong_options(
    kubeflow: Kubeflow, lungseg: Lungseg, write_pipeline: WritePipeline, options: tuple[str, ...], expected: str
) -> None:
    done = lungseg("kubeflow", "submit", write_pipeline(), "--host", kubeflow.host, *options)
    assert done == (2, "", f"lungseg: {expected}\n")
    assert kubeflow.requests == []


def test_a_wrong_cron_sends_nothing(kubeflow: Kubeflow, lungseg: Lungseg, write_pipeline: WritePipeline) -> None:
    options = ("--host", kubeflow.host, "--name", "weekly", "--cron", "0 2 * * 1")
    code, output, errors = lungseg("kubeflow", "schedule", "set", write_pipeline(), *options)
    assert (code, output) == (2, "")
    assert errors == ("lungseg: --cron: cron has five fields; Kubeflow's has six, seconds first: write '0 0 2 * * 1'\n")
    assert kubeflow.requests == []


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 0 2 * * 1", "At 02:00, only on Monday"),
        ("0 0 2 ? * MON", "At 02:00, only on Monday"),
        ("0 30 3 1,15 * *", "At 03:30, on day 1 and 15 of the month"),
        ("0 0 */6 * * *", "Every 6 hours"),
        ("0 0 0 1 jan-MAR ?", "At 00:00, on day 1 of the month, January through March"),
        ("59 59 23 31 12 0-6", "At 23:59:59, on day 31 of the month, Sunday through Saturday, only in December"),
    ],
)
def test_a_cron_in_words(cron: str, words: str) -> None:
    assert check_cron(cron) == cron
    assert cron_in_words(cron) == words


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("60 0 2 * * 1", "the second is '60', must be made of 0-59"),
        ("0 60 2 * * 1", "the minute is '60', must be made of 0-59"),
        ("0 0 24 * * 1", "the hour is '24', must be made of 0-23"),
        ("0 0 2 0 * 1", "the day of the month is '0', must be made of 1-31"),
        ("0 0 2 L * 1", "the day of the month is 'L', must be made of 1-31"),
        ("0 0 2 * 13 1", "the month is '13', must be made of 1-12 or JAN-DEC"),
        ("0 0 2 * MON 1", "the month is 'MON', must be made of 1-12 or JAN-DEC"),
        ("0 0 2 * * 7", "the day of the week is '7', must be made of 0-6 or SUN-SAT"),
        ("0 0 2 * * FRI-MON", "the day of the week is 'FRI-MON', must be made of 0-6 or SUN-SAT"),
        ("0 0 2 * * MON#2", "the day of the week is 'MON#2', must be made of 0-6 or SUN-SAT"),
        ("0 */0 2 * * *", "the minute is '*/0', must be made of 0-59"),
        ("0 1,,2 2 * * *", "the minute is '1,,2', must be made of 0-59"),
        ("0 5-1 2 * * *", "the minute is '5-1', must be made of 0-59"),
        ("0 -5 2 * * *", "the minute is '-5', must be made of 0-59"),
        ("0 1/2/3 2 * * *", "the minute is '1/2/3', must be made of 0-59"),
    ],
)
def test_a_field_that_kubeflow_would_refuse(cron: str, expected: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(f'''--cron '{cron}': {expected}''')}, \\*, \\?, ',', '-', '/'$"):
        check_cron(cron)


@pytest.mark.parametrize(("cron", "count"), [("@daily", 1), ("", 0), ("0 0 2 * * 1 2027", 7)])
def test_another_number_of_fields(cron: str, count: int) -> None:
    names = "second, minute, hour, day of the month, month, day of the week"
    expected = f"--cron '{cron}': must have six fields ({names}), such as '0 0 2 * * 1', but has {count}"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        check_cron(cron)
