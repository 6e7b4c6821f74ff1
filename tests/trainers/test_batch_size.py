import pytest

from nnunet_vmunet.trainers.batch_size import paper_batch_size


@pytest.mark.parametrize(
    ("patch_size", "training_images", "batch_size"),
    [
        ((256, 256), 1886, 32),  # the paper's
        ((224, 224), 2211, 32),
        ((56, 40), 1000, 32),  # small patches do not make larger batches
        ((512, 512), 1000, 8),  # as many pixels
        ((512, 256), 1000, 16),
        ((300, 300), 1000, 23),
        ((4096, 4096), 1000, 2),  # at least 2
        ((256, 256), 20, 20),  # never more than there are
        ((4096, 4096), 1, 1),
    ],
)
def test_batch_size(patch_size, training_images, batch_size):
    assert paper_batch_size(patch_size, training_images) == batch_size
