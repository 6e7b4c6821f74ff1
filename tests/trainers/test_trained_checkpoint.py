import torch

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet
from nnunet_vmunet.weights.checkpoint import Kind, open_checkpoint
from nnunet_vmunet.weights.filling import fill


def test_a_checkpoint_that_the_trainer_saved_fills_another_network(tiny_dataset, tmp_path):
    trainer = tiny_dataset().trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    trainer.save_checkpoint(str(tmp_path / "checkpoint_final.pth"))
    checkpoint = open_checkpoint(tmp_path / "checkpoint_final.pth", trust=True)
    assert checkpoint.kind is Kind.OURS
    filled = fill(VMUNet(3, 9), checkpoint)
    trained = trainer.network.state_dict()
    assert set(filled.adapted) == {"encoder.patch_embed.proj.weight"}
    assert filled.missing == ["decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"]
    assert all(torch.equal(filled.state_dict[name], trained[name]) for name in filled.loaded)
