"""Ready networks for images, channels last: LeNet, ResNet, ConvNeXt, U-Net."""

from danlu.nn.vision.convnext import ConvNeXt, LayerScale
from danlu.nn.vision.lenet import LeNet
from danlu.nn.vision.resnet import ResNet
from danlu.nn.vision.unet import UNet

__all__ = ["ConvNeXt", "LayerScale", "LeNet", "ResNet", "UNet"]
