"""Ready networks for images, channels last: LeNet, ResNet, ConvNeXt, U-Net, a detector."""

from danlu.nn.vision.convnext import ConvNeXt, LayerScale
from danlu.nn.vision.detector import Detector
from danlu.nn.vision.lenet import LeNet
from danlu.nn.vision.resnet import ResNet
from danlu.nn.vision.unet import UNet

__all__ = ["ConvNeXt", "Detector", "LayerScale", "LeNet", "ResNet", "UNet"]
