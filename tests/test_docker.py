"""What can be said of docker/ without building an image: checks that train nothing, no root, a closed app."""

import json
import re
from pathlib import Path

import pytest
import yaml

from openmsra.cli import doctor
from openmsra.cli.app import main as app
from openmsra.resources import PAPERS

DOCKER = Path(__file__).resolve().parents[1] / 'docker'


def _stages() -> dict[str, list[str]]:
    """Instructions of each stage, continued lines joined."""
    text = re.sub(r'\\\n\s*', '', (DOCKER / 'Dockerfile').read_text(encoding='utf-8'))
    stages: dict[str, list[str]] = {}
    for line in text.splitlines():
        if started := re.match(r'FROM \S+ AS (\S+)', line):
            stages[started[1]] = instructions = []
        elif stages and line and not line.startswith('#'):
            instructions.append(line)
    return stages


def _command(stage: list[str], keyword: str) -> list[str]:
    [line] = [line for line in stage if line.startswith(keyword)]
    return json.loads(line[line.index('[') :])


def test_health_of_a_training_is_asked_and_not_trained(monkeypatch):
    program, command, *papers = _command(_stages()['train'], 'HEALTHCHECK')
    assert (program, command) == ('openmsra', 'doctor') and papers == list(PAPERS)
    monkeypatch.setattr(doctor, 'faults', lambda chosen, operators: [])
    doctor.main(papers)


def test_nothing_runs_as_root():
    stages = _stages()
    users = [line for line in stages['train'] if line.startswith('USER ')]
    assert users == ['USER openmsra'] and not any(line.startswith('USER ') for line in stages['app'])
    assert stages['train'].index('USER openmsra') < stages['train'].index('CMD ["openmsra", "--help"]')


def test_app_listens_where_its_check_asks(capsys):
    stage = _stages()['app']
    start = _command(stage, 'ENTRYPOINT')
    port = start[start.index('--port') + 1]
    assert f'EXPOSE {port}' in stage and f"'127.0.0.1', {port}" in _command(stage, 'HEALTHCHECK')[2]
    with pytest.raises(SystemExit, match='0'):
        app.main([*start[2:], *_command(stage, 'CMD')])


def test_compose_builds_stages_that_exist_and_keeps_the_app_to_this_machine():
    services = yaml.safe_load((DOCKER / 'compose.yaml').read_text(encoding='utf-8'))['services']
    for service in services.values():
        if 'build' in service:
            assert service['build']['target'] in _stages()
            assert (DOCKER / service['build']['context'] / service['build']['dockerfile']).is_file()
    assert all(port.startswith('127.0.0.1:') for port in services['app']['ports'])
    assert services['app']['read_only'] and services['app']['cap_drop'] == ['ALL']
    assert services['train']['shm_size'] == '8g'
