"""A resumed run ends where the uninterrupted one does, to the last bit."""


from tests.reliability.runs import differences, each_instant, final_state, short_config, train

BATCHES = 3  # of an epoch; 2 epochs


@each_instant
def test_resumed_inside_and_at_the_end_of_an_epoch(path, tmp_path):
    train(short_config(path, tmp_path / 'whole', BATCHES))
    expected = final_state(tmp_path / 'whole')
    for done in (2, 3, 4):
        folder = tmp_path / f'after_{done}'
        train(short_config(path, folder, BATCHES), resume=tmp_path / 'whole' / f'iter_{done}.pth')
        assert not differences(expected, final_state(folder))
