from __future__ import annotations

import argparse


class AsyncEngineArgs:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options

    @classmethod
    def from_cli_args(cls, options: argparse.Namespace) -> AsyncEngineArgs:
        return cls(options)

    def create_engine_config(self, usage_context: str) -> argparse.Namespace:
        assert usage_context
        return self.options
