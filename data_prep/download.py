"""Downloads with pooch: hashes, retries and mirrors are pooch's and ours; resuming is added to its downloader.

pooch 1.9 starts a failed download again from its first byte. The downloader here keeps what has arrived in a hidden
file beside the target and asks for the rest with an HTTP Range request.
"""

import gzip
import hashlib
import os
import shutil
import tarfile
import zlib

import pooch
import requests
from tqdm import tqdm

from ..archives import open_tgz
from ..errors import UserError
from ..files import sha256
from .text import say

RETRIES = 2
_TIMEOUT = 60  # seconds without a byte


def fetch(source, path, known=None):
    """Make sure that `path` holds the file of a sources.Source; returns its SHA-256.

    known: the SHA-256 that an earlier download had, or None. A file that is there with the right hash is left alone,
    one with a wrong hash is named and fetched again. Raises UserError if no address gives the right file.
    """
    expected = f"sha256:{known}" if known else source.hash
    if path.exists():
        if pooch.hashes.hash_matches(str(path), expected):
            return sha256(path)
        say(f"{path}: its hash is not {expected}: fetching it again")
        path.unlink()
    pooch.get_logger().setLevel("WARNING")
    faults = []
    for url in source.urls:
        say(f"{path}: from {url}")
        try:
            registry = pooch.create(
                path.parent, base_url="", registry={path.name: expected}, urls={path.name: url}, retry_if_failed=RETRIES
            )
            registry.fetch(path.name, downloader=_download)
            return sha256(path)
        except (requests.RequestException, ValueError) as error:
            faults.append(f"{url}: {_reason(error)}")
    raise UserError(
        f"{path.name}: cannot be downloaded: {'; '.join(faults)}: "
        "get it by other means and name its folder with --raw-dir"
    )


def _download(url, output_file, _registry):
    """Complete the partial file of this address and move it to output_file; the signature is pooch's."""
    partial = os.path.join(os.path.dirname(output_file), f".{hashlib.sha256(url.encode()).hexdigest()[:16]}.partial")
    have = os.path.getsize(partial) if os.path.exists(partial) else 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if have and response.status_code == 416:  # there is no rest: what is here is too long, or already all
            os.unlink(partial)
            raise ValueError("the server has fewer bytes than an earlier download")
        response.raise_for_status()
        resumed = response.status_code == 206
        total = int(response.headers.get("content-length", 0)) + (have if resumed else 0)
        bar = tqdm(desc=url.rsplit("/", 1)[-1], total=total or None, initial=have if resumed else 0, unit="B",
                   unit_scale=True, disable=None, leave=False, delay=1)  # fmt: skip
        with bar, open(partial, "ab" if resumed else "wb") as stream:
            for piece in response.iter_content(1 << 16):
                stream.write(piece)
                bar.update(len(piece))
    shutil.move(partial, output_file)
    _check_readable(output_file, url)


def _check_readable(path, url):
    """Raise ValueError for an archive that cannot be read to its end, such as an error page under its name."""
    try:
        if url.endswith(".tgz"):
            with open_tgz(path) as archive:
                for _ in archive:
                    pass
        else:
            with gzip.open(path) as stream:
                while stream.read(1 << 20):
                    pass
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"what arrived is no whole archive ({error})") from error


def _reason(error):
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return " ".join(str(error).split())
