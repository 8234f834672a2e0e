"""Certificates for tests of encrypted connections, made with openssl."""

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificates(folder: Path) -> Path:
    """An authority, and certificates of it for this host; and a stranger's, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with openssl, which is not installed")

    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("authority", "stranger"):
        openssl("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    for name, names in (
        ("bridge", "IP:127.0.0.1,DNS:localhost"),
        ("scanner", "IP:127.0.0.1,DNS:localhost"),
        ("elsewhere", "DNS:elsewhere.example"),
    ):
        (folder / "names").write_text(f"subjectAltName={names}\n")
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-extfile", "names",
        )  # fmt: skip
    return folder
