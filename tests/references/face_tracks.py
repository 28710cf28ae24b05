"""Tracks, crops and scores of a whole video at once, everything in memory; see openmsra.ftcn.faces.tracking and .inferencer."""

import numpy as np
import torch

from openmsra.common.boxes import iou
from openmsra.ftcn.data.clips import clip_starts, reflect
from openmsra.ftcn.faces.align import align_clip
from openmsra.ftcn.faces.tracking import Track, loose_crop


def track_faces(detections, overlap=0.5, seed_score=0.8, gap=2):
    """Tracks in order of their first frame; ``detections`` are the faces of each frame."""
    active, done = [], []
    for number, faces in enumerate(detections):
        done += [track for track in active if number - max(track) > gap + 1]
        active = [track for track in active if number - max(track) <= gap + 1]
        pairs = sorted(
            ((iou(track[max(track)].box, face.box), t, f) for t, track in enumerate(active) for f, face in enumerate(faces)),
            reverse=True,
        )
        taken, used = set(), set()
        for value, t, f in pairs:
            if value >= overlap and t not in taken and f not in used:
                active[t][number] = faces[f]
                taken.add(t)
                used.add(f)
        active += [{number: face} for f, face in enumerate(faces) if f not in used and face.score >= seed_score]
    return sorted((_interpolated(track) for track in done + active), key=lambda track: track.start)


def _interpolated(track):
    known = sorted(track)
    values = np.stack([np.concatenate([track[k].box, track[k].landmarks.ravel()]) for k in known])
    numbers = np.arange(known[0], known[-1] + 1)
    rows = np.stack([np.interp(numbers, known, column) for column in values.T], axis=1)
    return Track(known[0], rows[:, :4], rows[:, 4:].reshape(-1, 5, 2))


@torch.no_grad()
def score_video(model, frames, detections, stride, min_frames=8):
    """Of each track that is long enough the starts of the clips, their scores and the mean score at each frame."""
    results = []
    for track in track_faces(detections):
        count = len(track.boxes)
        if count < min_frames:
            continue
        crops, corners = zip(*(loose_crop(frames[track.start + k][0], track.boxes[k]) for k in range(count)), strict=True)
        starts, scores, seen = clip_starts(count, model.clip_len, stride), [], [[] for _ in range(count)]
        for start in starts:
            numbers = reflect(start + np.arange(model.clip_len), count)
            clip = align_clip([crops[k] for k in numbers], np.array(corners)[numbers], track.landmarks[numbers], model.size)
            (sample,) = model.test_step(dict(inputs=torch.from_numpy(clip.transpose(3, 0, 1, 2)[None].copy())))
            scores.append(sample.pred_score)
            for k in set(numbers.tolist()):
                seen[k].append(sample.pred_score)
        results.append((track, starts, scores, [np.mean(values) for values in seen]))
    return results
