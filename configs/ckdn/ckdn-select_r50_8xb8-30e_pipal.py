# Checkpoints are selected on 25 scenes that are neither trained nor tested on; the official code selects on the test scenes.
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

train_dataloader = dict(dataset=dict(reserved_scenes=25))
val_dataloader = dict(dataset=dict(reserved_scenes=25))
