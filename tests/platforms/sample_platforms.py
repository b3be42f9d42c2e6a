"""Platforms of devices that are not here."""

from robot_assets.platforms.probe import Platform

ORIN = Platform(
    architecture="aarch64",
    cpu_features=("asimd", "asimddp"),
    board="NVIDIA Jetson AGX Orin Developer Kit",
    soc="tegra234",
    l4t="36.4.3",
    compute_capability="8.7",
    libnvinfer="10.3.0.30-1+cuda12.5",
    dla_cores=("nvdla0", "nvdla1"),
)
