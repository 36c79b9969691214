"""`kept demo` with stores behind an API: what stands in and what isn't connected is said, nothing real is asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.acceptance.company import ROOT, SiteLucent


def test_a_lead_can_be_asked_for_while_the_demo_runs_and_no_setting_stays(tmp_path: Path) -> None:
    company = SiteLucent(tmp_path / "d")
    environment = {k: v for k, v in os.environ.items() if k not in ("APP_DATABASE_URL", "HUBSPOT_TOKEN")}
    environment |= {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "COLUMNS": "200"}
    arguments = ("demo", "sitelucent", "--people", "60", "--no-enforce", "--dir", str(company.folder))
    running = subprocess.Popen(
        [sys.executable, "-u", "-m", "kept", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    try:
        assert running.stdout is not None
        for line in running.stdout:  # ends with the process at the latest
            said.append(line)
            if line.startswith("The board: http://127.0.0.1:"):
                break
        text = "".join(said)
        assert "a HubSpot of this machine stands in" in text and "request access lead:1" in text
        ran = company.kept("request", "access", "lead:1", "--format", "json")
        assert ran.code == 0 and ran.json()["state"] == "done", ran.err
        [answer] = ran.json()["answers"]
        with zipfile.ZipFile(answer) as archive:
            assert b"+32 2 555" in archive.read("data.json")
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)
    assert "HUBSPOT_TOKEN" not in (company.folder / ".env").read_text()
    ran = company.kept("request", "access", "lead:1")
    assert ran.code != 0 and "HUBSPOT_TOKEN is missing" in ran.err


def test_what_nothing_stands_in_for_is_not_asked_even_where_the_environment_has_its_key(
    tmp_path: Path,
) -> None:
    company = SiteLucent(tmp_path / "d")
    environment = (
        os.environ
        | {
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "STRIPE_KEY": "http://sk_live_of_somebody@127.0.0.1:9",  # nobody answers there, and nobody is to be asked
        }
    )
    arguments = ("demo", "lumnar", "--people", "30", "--no-serve", "--dir", str(company.folder))
    ran = subprocess.run(
        [sys.executable, "-m", "kept", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "stripe: not connected" in ran.stdout
    assert "the setting STRIPE_KEY is missing" in " ".join(ran.stdout.split())
    assert "STRIPE_KEY" not in (company.folder / ".env").read_text()
