"""What pyproject.toml cannot say: a package that lies elsewhere, a .pth file beside the packages, constraints inside.

The rest, the dependencies too, is in pyproject.toml.
"""

import os
from distutils.command.install_data import install_data  # setuptools provides it, on Python 3.12 too

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py


class InstallBesideThePackage(install_data):
    """data_files go to site-packages, where Python looks for .pth files, and not to the prefix of the installation."""

    def finalize_options(self):
        self.set_undefined_options("install", ("install_lib", "install_dir"))
        super().finalize_options()


class BuildWithConstraints(build_py):
    """constraints.txt goes into the package, where the messages about what is missing find it (compat/install.py)."""

    def run(self):
        super().run()
        if not self.editable_mode:
            self.copy_file("constraints.txt", os.path.join(self.build_lib, "labo_fairseq", "constraints.txt"))


class DistributionWithData(Distribution):
    """setuptools' editable install asks has_data(), which no Distribution has, and then leaves data_files out."""

    def has_data(self):
        return self.has_data_files()


setup(
    packages=[
        *find_packages(include=["labo_fairseq", "labo_fairseq.*"]),
        *(f"labo_fairseq.{name}" for name in find_packages(include=["data_prep", "data_prep.*"])),
    ],
    package_dir={"labo_fairseq.data_prep": "data_prep"},
    distclass=DistributionWithData,
    cmdclass={"install_data": InstallBesideThePackage, "build_py": BuildWithConstraints},
    data_files=[("", ["labo_fairseq_hook.pth"])],
)
