"""The recipe for pictures: which augmentation becomes layers, and which a change of batches."""

from danlu.nn import CutMix, MixUp, OneOf, RandomChoice
from danlu.tasks import Augment, image_recipe


def planned(**augment):
    return image_recipe("multiclass", 500, (8, 8, 1), classes=3, augment=Augment(**augment))


def test_mixing_is_a_change_of_batches():
    assert planned().augment is None
    assert planned(mixup=0.2).augment == MixUp(0.2, 3)
    assert planned(cutmix=1.0).augment == CutMix(1.0, 3)
    assert planned(mixup=0.2, cutmix=1.0).augment == OneOf((MixUp(0.2, 3), CutMix(1.0, 3)))


def test_random_augmentation_is_a_layer():
    def kinds(plan):
        return [type(layer) for layer in plan.model.layers]

    assert RandomChoice not in kinds(planned())
    assert RandomChoice in kinds(planned(random=0.5))
