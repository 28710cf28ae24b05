"""Checked COCO files in mmdet's index."""

from mmdet.datasets.api_wrappers import COCO


def index_coco(content: dict, classes: tuple[str, ...] = ()) -> COCO:
    """mmdet's index of a file's content.

    Args:
        content: of :func:`openmsra.common.coco.read_coco`.
        classes: names in the order of the labels. mmdet numbers labels in the order of the file, so that two files with the same
            categories in another order would mean different classes; here they are put into this order.
    """
    rank = {name: number for number, name in enumerate(classes)}
    ordered = sorted(content.get('categories', []), key=lambda row: rank.get(row['name'], len(rank)))
    index = COCO()
    index.dataset = dict(content, categories=ordered)
    index.createIndex()
    index.img_ann_map, index.cat_img_map = index.imgToAnns, index.catToImgs
    return index
