# What all recipes on photographs share: the package, and how eight GPUs are fed.
custom_imports = dict(imports=['openmsra.autoformer'], allow_failed_imports=False)
inferencer = dict(type='AutoFormerInferencer')

train_dataloader = dict(num_workers=8, persistent_workers=True, pin_memory=True, drop_last=True)
val_dataloader = dict(
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
