"""Tests that the program accepts the chart's configuration. KEYWARD_BIN is its path."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import support


class Program(unittest.TestCase):
    def setUp(self):
        if "KEYWARD_BIN" not in os.environ:
            self.skipTest("KEYWARD_BIN names no program")

    def migrate(self, text):
        """Runs a migration with a configuration, on its own database."""
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / "keyward.toml"
            text, count = re.subn(r'(?m)^url(_file)? = ".*"$', f'url = "sqlite://{folder}/keyward.db"', text)
            self.assertEqual(count, 1)
            config.write_text(text)
            return subprocess.run([os.environ["KEYWARD_BIN"], "migrate", "--config", config],
                                  capture_output=True, text=True, timeout=60, env={})

    def test_takes_what_every_case_gives_it(self):
        for case in support.CASES:
            (config,) = {one["data"]["keyward.toml"] for one in support.documents(case)
                         if one["kind"] == "ConfigMap" and "keyward.toml" in one["data"]}
            with self.subTest(case=case):
                done = self.migrate(config)
                self.assertEqual(done.returncode, 0, done.stderr)
                done = self.migrate(config.replace("drain_timeout_ms", "drain_timeout_ms_"))
                self.assertEqual(done.returncode, 78, "a setting that is not there is taken")
