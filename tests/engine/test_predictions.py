"""Predictions on disk hold their own numbers and not the batch that they were a part of."""

import pickle

import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement, InstanceData

from openmsra.engine.predictions import DumpPredictions


def test_predictions_are_stored_without_their_batch(tmp_path):
    scores, boxes = torch.rand(64, 1000), torch.rand(64, 100, 4)
    samples = []
    for row, box in zip(scores, boxes, strict=True):
        instances = InstanceData(bboxes=box, labels=torch.arange(100))
        samples.append(BaseDataElement(metainfo=dict(img_id=3), pred_score=row, pred_instances=instances, parts=[row[:2]]))
    evaluator = Evaluator([DumpPredictions(str(tmp_path / 'p.pkl'))])
    evaluator.process(samples)
    before = scores.clone()
    scores.zero_()  # a network may write into its output buffer again
    evaluator.evaluate(64)
    expected = 64 * (1000 + 400 + 2) * 4 + 64 * 100 * 8
    assert expected < (tmp_path / 'p.pkl').stat().st_size < 2 * expected
    predictions = pickle.loads((tmp_path / 'p.pkl').read_bytes())
    for i, prediction in enumerate(predictions):
        assert torch.equal(prediction['pred_score'], before[i]) and torch.equal(prediction['parts'][0], before[i, :2])
        assert torch.equal(prediction['pred_instances']['bboxes'], boxes[i]) and prediction['img_id'] == 3
