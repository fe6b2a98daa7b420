"""Where the corpora are downloaded from, in one table: the addresses to try in this order, and the hash.

A hash stands here only if it was computed from the file or read in a source that can be cited; None otherwise: the
first download then goes to the manifest, and later runs in the same folder insist on it. Evidence:
- multi30k: computed from the files of the repository multi30k/dataset at commit a3d2e0d.
- iwslt17, the test archives: computed from the files of the repository hlt-mt/WIT3 at commit e43615b; they also have
  the MD5 sums that sacreBLEU 2.6.0 gives for its test set iwslt17.
- iwslt17, the training archives: the MD5 sums that sacreBLEU 2.6.0 gives for its test set iwslt17/tst2015.
- wmt14: the SHA-256 of tensorflow/datasets, url_checksums/wmt14_translate.txt and wmt17_translate.txt; for the
  evaluation sets the MD5 sums that sacreBLEU 2.6.0 gives for wmt14/full and wmt17/dev.
wit3.fbk.eu, to which fairseq's scripts point, has not served the IWSLT archives since 2021 (fairseq issues 2984, 3623
and 4361); fairseq's later script takes iwslt14 de-en from dl.fbaipublicfiles.com.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A file to download; hash is `sha256:…` or `md5:…`, or None where nothing citable gives one."""

    urls: tuple
    hash: str | None = None


_WIT3 = "https://wit3.fbk.eu/archive"
_WIT3_MIRROR = "https://raw.githubusercontent.com/hlt-mt/WIT3/master/archive"
_MULTI30K = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"
_STATMT = ("https://www.statmt.org", "http://statmt.org")
_DATA_STATMT = ("https://data.statmt.org", "http://data.statmt.org")


def _wit3(path, hash=None):
    return Source((f"{_WIT3_MIRROR}/{path}", f"{_WIT3}/{path}"), hash)


def _on(hosts, path, hash):
    return Source(tuple(f"{host}/{path}" for host in hosts), hash)


_MULTI30K_HASHES = {
    "train.cs.gz": "a65adb8b32e3bc664f21ecba7a6e7f6950fd1f405e135f7c312faabdb6255077",
    "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.fr.gz": "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
    "val.cs.gz": "b63226e05c4bd5dd6a42897d74b86a1b9d2c31498252c572b1ea7f7996927fcc",
    "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.fr.gz": "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9",
    "test_2016_flickr.cs.gz": "200a4a74cc9560f051924abb9803be008d1908d77f747e9141aeb86dfd2797f1",
    "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.fr.gz": "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
}

# corpus: {name of the file: where it is}
SOURCES = {
    "multi30k": {
        name: Source((f"{_MULTI30K}/{name}",), f"sha256:{digest}") for name, digest in _MULTI30K_HASHES.items()
    },
    "iwslt14": {
        "de-en.tgz": Source(
            (
                "https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz",
                f"{_WIT3}/2014-01/texts/de/en/de-en.tgz",
            )
        ),
        "en-fr.tgz": Source((f"{_WIT3}/2014-01/texts/en/fr/en-fr.tgz",)),
    },
    "iwslt17": {
        "de-en.tgz": _wit3("2017-01-trnted/texts/de/en/de-en.tgz", "md5:ca2b94d694150d4d6c5dc64c200fa589"),
        "fr-en.tgz": _wit3("2017-01-trnted/texts/fr/en/fr-en.tgz", "md5:19927da9de0f40348cad9c0fc61642ac"),
        "test.de-en.tgz": _wit3(
            "2017-01-ted-test/texts/de/en/de-en.tgz",
            "sha256:b0034e3c957da26eaf3c573390c3fc669d509ea94c0b398889ad74bddadb4974",
        ),
        "test.en-de.tgz": _wit3(
            "2017-01-ted-test/texts/en/de/en-de.tgz",
            "sha256:0c786a6905618af716da365592594473481ba9548a922506aaf6c17f1aee27e4",
        ),
        "test.fr-en.tgz": _wit3(
            "2017-01-ted-test/texts/fr/en/fr-en.tgz",
            "sha256:8393e55847ba750290180f1fb62684abb8c09b890c52d4ebc5c2376e8e722e93",
        ),
        "test.en-fr.tgz": _wit3(
            "2017-01-ted-test/texts/en/fr/en-fr.tgz",
            "sha256:755b1061ff258686d8c906525dc75035304b292320d59e5a78802b2923c204ad",
        ),
    },
    "wmt14": {
        "training-parallel-europarl-v7.tgz": _on(
            _STATMT,
            "wmt13/training-parallel-europarl-v7.tgz",
            "sha256:0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",
        ),
        "training-parallel-commoncrawl.tgz": _on(
            _STATMT,
            "wmt13/training-parallel-commoncrawl.tgz",
            "sha256:c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",
        ),
        "training-parallel-nc-v12.tgz": _on(
            _DATA_STATMT,
            "wmt17/translation-task/training-parallel-nc-v12.tgz",
            "sha256:2b45f30ef1d550d302fd17dd3a5cbe19134ccc4c2cf50c2dae534aee600101a2",
        ),
        "training-parallel-nc-v9.tgz": _on(
            _STATMT,
            "wmt14/training-parallel-nc-v9.tgz",
            "sha256:cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485",
        ),
        "dev.tgz": _on(_DATA_STATMT, "wmt17/translation-task/dev.tgz", "md5:9b1aa63c1cf49dccdd20b962fe313989"),
        "test-full.tgz": _on(_STATMT, "wmt14/test-full.tgz", "md5:a8cd784e006feb32ac6f3d9ec7eb389a"),
    },
}
