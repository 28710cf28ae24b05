"""Boxes through crops, resizes and flips."""

import numpy as np
import pytest

import openmsra.maskco  # noqa: F401 - registers the transforms
from openmsra.common.boxes import area, intersect, iou
from openmsra.maskco.data.geometry import (
    View,
    common_region,
    random_boxes,
    random_crop,
    random_negatives,
    random_regions,
)
from openmsra.maskco.data.transforms import PackRegionViews, TwoRegionViews

BOX = np.array([180, 100, 260, 160.0])


def test_worked_example():
    view = View((100, 40, 320, 240), False, 224)
    np.testing.assert_allclose(view.to_view(BOX), [56, 56, 112, 112])
    np.testing.assert_allclose(View((100, 40, 320, 240), True, 224).to_view(BOX), [112, 56, 168, 112])


def test_identity_inverse_and_own_crop():
    np.testing.assert_allclose(View((0, 0, 224, 224), False, 224).to_view(BOX), BOX)
    for flip in (False, True):
        view = View((13, 7, 301, 199), flip, 96)
        np.testing.assert_allclose(view.to_original(view.to_view(BOX)), BOX)
        np.testing.assert_allclose(view.to_view(view.box), [0, 0, 96, 96])


def test_painted_region_arrives_where_the_boxes_say():
    """Brute force: paint the region in the image, render both views, compare inside with outside of the mapped boxes."""
    np.random.seed(0)
    transform = TwoRegionViews(size=64, min_common_side=24, min_region_side=16)
    image = np.zeros((240, 320, 3), np.uint8)
    for _ in range(200):
        results = transform(dict(img=image))
        x1, y1, x2, y2 = results['boxes_original'].round().astype(int)[0]
        painted = image.copy()
        painted[y1:y2, x1:x2] = 255
        for view, box in zip(results['geometry'], (results['query_boxes'][0], results['key_boxes'][0]), strict=True):
            pixels = transform._render(painted, view)[..., 0] / 255
            margin = 2 + 64 / min(view.crop[2:])  # resizing mixes neighbours, rounding the paint moves its edge
            centre = np.arange(64) + 0.5
            inner = [(centre > box[i] + margin) & (centre < box[i + 2] - margin) for i in (0, 1)]
            outer = [(centre > box[i] - margin) & (centre < box[i + 2] + margin) for i in (0, 1)]
            assert pixels[np.ix_(inner[1], inner[0])].mean() >= 0.98
            assert pixels[~np.outer(outer[1], outer[0])].mean() <= 0.02


def test_statistics_of_our_laws_on_photographs():
    """Valid first draws, overlap and share of the key view for 640 x 480, against an independent computation."""
    rng = np.random.default_rng(0)
    valid, overlaps, shares = [], [], []
    for _ in range(8000):
        query, key = (View(random_crop(640, 480, (0.2, 1), (3 / 4, 4 / 3), rng), False, 224) for _ in range(2))
        common = common_region(query, key, 0.2, 64)
        valid.append(common is not None)
        overlaps.append(area(intersect(query.box, key.box)) / min(area(query.box), area(key.box)))
        if common is not None:
            box = random_boxes(query.to_view(common), 1, 224, (0.1, 0.3), (0.5, 2), rng)[0]
            shares.append(area(key.to_view(query.to_original(box))) / 224**2)
    assert np.mean(valid) == pytest.approx(0.962, abs=0.01)
    assert np.mean(overlaps) == pytest.approx(0.80, abs=0.01)
    assert np.mean(shares) == pytest.approx(0.227, abs=0.01)


def test_negatives_keep_off_the_region():
    rng = np.random.default_rng(0)
    taken = np.array([[10, 10, 90, 120.0]])
    boxes, valid = random_negatives(taken, 500, 224, (0.1, 0.3), (0.5, 2), 0.1, rng)
    assert valid.all()
    assert iou(boxes, taken).max() <= 0.1
    assert boxes.min() >= 0 and boxes.max() <= 224
    assert not random_negatives(np.array([[0, 0, 224, 224.0]]), 3, 224, (0.5, 0.6), (0.9, 1.1), 0.1, rng)[1].any()


def test_views_without_overlap_share_the_crop(monkeypatch):
    monkeypatch.setattr('openmsra.maskco.data.transforms.common_region', lambda *args: None)
    np.random.seed(0)
    results = TwoRegionViews()(dict(img=np.zeros((300, 300, 3), np.uint8)))
    assert results['geometry'][0].crop == results['geometry'][1].crop
    assert results['figures'] == dict(redraws=11, overlap=1)


def test_share_crop_draws_once():
    np.random.seed(0)
    results = TwoRegionViews(share_crop=True)(dict(img=np.zeros((300, 300, 3), np.uint8)))
    assert results['geometry'][0].crop == results['geometry'][1].crop
    assert results['figures'] == dict(redraws=0, overlap=1)


def test_several_regions_are_disjoint():
    np.random.seed(1)
    transform = TwoRegionViews(num_regions=2, region_scale=(0.1, 0.15), crop_scale=(0.8, 1))
    results = transform(dict(img=np.zeros((300, 300, 3), np.uint8)))
    first, second = results['boxes_original']
    assert iou(first, second) == 0


def test_regions_fit_into_both_views_or_are_the_common_part():
    rng = np.random.default_rng(0)
    query, key = View((0, 0, 100, 100), True, 50), View((40, 20, 50, 80), False, 50)
    common = intersect(query.box, key.box)
    for _ in range(100):
        boxes = random_regions(query, key, common, 2, (0.05, 0.1), (0.5, 2), 5, rng)
        assert iou(boxes[0], boxes[1]) == 0
        for view in (query, key):
            in_view = view.to_view(boxes)
            assert (in_view[:, 2:] - in_view[:, :2]).min() >= 5 - 1e-5
            assert in_view.min() >= -1e-9 and in_view.max() <= 50 + 1e-9
    too_big = random_regions(query, key, common, 2, (0.05, 0.1), (0.5, 2), 50, rng)
    np.testing.assert_array_equal(too_big, np.stack([common, common]))  # repeated: there is room for one only


def test_figures_of_the_pair():
    np.random.seed(0)
    transform = TwoRegionViews(crop_scale=(0.2, 0.3), min_common_side=8, min_region_side=8)
    for _ in range(20):
        results = transform(dict(img=np.zeros((300, 300, 3), np.uint8), gt_boxes=np.array([[100, 100, 140, 150.0]])))
        query, key = (view.box for view in results['geometry'])
        seen = [area(intersect(crop, results['gt_boxes'][0])) >= 1000 for crop in (query, key)]
        assert results['figures']['common_object'] == float(all(seen))
        assert results['figures']['overlap'] == area(intersect(query, key)) / min(area(query), area(key)) >= 0.2


def test_both_views_have_negatives_for_a_symmetric_loss():
    np.random.seed(0)
    image = dict(img=np.zeros((300, 300, 3), np.uint8))
    packed = PackRegionViews()(TwoRegionViews(both_views=True, num_negatives=3)(dict(image)))['regions']
    for boxes, taken, valid in (('negatives', 'key', 'valid'), ('query_negatives', 'query', 'query_valid')):
        assert packed[boxes].shape == (3, 4)
        overlaps = iou(packed[boxes].double().numpy(), packed[taken].double().numpy())
        assert (overlaps[packed[valid].numpy()] <= 0.1 + 1e-6).all()
    assert 'query_negatives' not in PackRegionViews()(TwoRegionViews()(dict(image)))['regions']


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(min_region_side=80), 'lower min_region_side'),
        (dict(size=32), 'a view of 32'),
        (dict(crop_scale=(0.5, 0.2)), 'crop_scale'),
        (dict(region_scale=(0.6, 0.9)), 'too little context'),
        (dict(num_regions=6), 'too little context'),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        TwoRegionViews(**settings)


def test_image_without_a_crop():
    with pytest.raises(ValueError, match='too few'):
        TwoRegionViews()(dict(img=np.zeros((1, 50, 3), np.uint8), img_path='a.png'))


def test_image_smaller_than_the_view_is_enlarged():
    np.random.seed(0)
    views = TwoRegionViews()(dict(img=np.full((9, 12, 3), 7, np.uint8)))['views']
    assert all(view.shape == (224, 224, 3) and (view == 7).all() for view in views)
