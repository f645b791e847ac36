"""Where the axes of a symmetric model lie, found by superposing its identical chains."""

import numpy as np

# Chains that superpose worse than this, or axes that disagree more, are not related by the symmetry named.
LARGEST_RMSD_ANGST = 4.0
LARGEST_DISAGREEMENT_DEG = 4.0


def symmetry_frame(traces: list[dict[str, np.ndarray]], operators: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation Q and centre c such that x -> Q (x - c) brings the model into the setting of a point group.

    Parameters
    ----------
    traces
        One mapping per chain: residue to its (3,) position in Å.
    operators
        (o, 3, 3), the identity first.

    Raises
    ------
    ValueError
        If no such frame is found.
    """
    if len(operators) == 1:
        positions = np.concatenate([np.array(list(trace.values())) for trace in traces])
        return np.eye(3), positions.mean(0)
    rotations, shifts = _superpositions(traces)
    if len(rotations) == 0:
        raise ValueError("no two chains of the model are alike")
    rotation = _best_rotation(rotations, operators)
    used = _matching(rotation @ rotations @ rotation.T, operators)
    # x -> R x + t fixes the centre: (1 - R) c = t, solved with the least move from the mean of the atoms.
    mean = np.array(list(traces[_reference(traces)].values())).mean(0)
    matrix = np.concatenate([np.eye(3) - rotations[i] for i in used])
    vector = np.concatenate([shifts[i] for i in used])
    center = mean + np.linalg.lstsq(matrix, vector - matrix @ mean, rcond=1e-3)[0]
    return rotation, center


def _reference(traces: list[dict[str, np.ndarray]]) -> int:
    """Longest chain."""
    return int(np.argmax([len(trace) for trace in traces]))


def _superpositions(traces: list[dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """(m, 3, 3) rotations and (m, 3) shifts that take the longest chain to each chain like it."""
    reference = _reference(traces)
    found = []
    for number, trace in enumerate(traces):
        shared = [key for key in traces[reference] if key in trace]
        if number == reference or len(shared) < 0.8 * len(traces[reference]):
            continue
        rotation, shift, rmsd = superpose(
            np.array([traces[reference][key] for key in shared]), np.array([trace[key] for key in shared])
        )
        if rmsd < LARGEST_RMSD_ANGST:
            found.append((rotation, shift))
    return np.array([r for r, _ in found]), np.array([t for _, t in found])


def superpose(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotation, shift and r.m.s. deviation of the best target = R source + t (Kabsch 1976)."""
    middle_source, middle_target = source.mean(0), target.mean(0)
    left, _, right = np.linalg.svd((target - middle_target).T @ (source - middle_source))
    handed = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    rotation = left @ handed @ right
    shift = middle_target - rotation @ middle_source
    deviation = source @ rotation.T + shift - target
    return rotation, shift, float(np.sqrt((deviation**2).sum(1).mean()))


def _best_rotation(rotations: np.ndarray, operators: np.ndarray) -> np.ndarray:
    """Rotation under which the superpositions agree best with the operators."""
    candidates = [_aligning(pair, wanted) for wanted in _generators(operators) for pair in _pairs(rotations, wanted)]
    scored = [(_disagreement_deg(q @ rotations @ q.T, operators), k) for k, q in enumerate(candidates)]
    if not scored or min(scored)[0] > LARGEST_DISAGREEMENT_DEG:
        raise ValueError(f"its chains are not arranged so (best within {min(scored)[0] if scored else 180:.0f}°)")
    return candidates[min(scored)[1]]


def _axis_angle(rotation: np.ndarray) -> tuple[np.ndarray, float]:
    """Unit axis and angle in degrees, 0 to 180."""
    angle = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
    values, vectors = np.linalg.eigh(rotation + rotation.T)
    axis = vectors[:, np.argmax(values)]
    turn = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return (-axis if turn @ axis < 0 else axis), float(angle)


def _generators(operators: np.ndarray) -> list[list[tuple[np.ndarray, float]]]:
    """The finest rotation of the group, with one of another axis where there is one."""
    elements = sorted((_axis_angle(o) for o in operators[1:]), key=lambda element: element[1])
    first = elements[0]
    others = [e for e in elements if abs(e[0] @ first[0]) < 0.99]
    return [[first, others[0]]] if others else [[first]]


def _pairs(rotations: np.ndarray, wanted: list[tuple[np.ndarray, float]]) -> list[list[np.ndarray]]:
    """Axes of superpositions that turn by the wanted angles.

    All rotations of the finest angle are alike under the group, so one stands for the first axis; the second is tried
    with both signs, as a half turn has no sign.
    """
    found = [_axis_angle(r) for r in rotations]
    near = [[axis for axis, angle in found if abs(angle - turn) < LARGEST_DISAGREEMENT_DEG] for _, turn in wanted]
    if len(wanted) == 1 or not near[0]:
        return [[axis] for axis in near[0][:1]]
    first = near[0][0]
    return [[first, sign * axis] for axis in near[1] for sign in (1, -1) if abs(axis @ first) < 0.99]


def _aligning(axes: list[np.ndarray], wanted: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """Rotation that takes the first axis to the first one wanted, and the second as near as can be."""
    target = [axis for axis, _ in wanted]
    second = axes[1] if len(axes) > 1 else _least_turned(axes[0], target[0])
    wanted_second = target[1] if len(axes) > 1 else np.cross(np.cross(axes[0], target[0]), target[0])
    if len(axes) == 1 and np.linalg.norm(wanted_second) < 1e-6:
        return np.eye(3) if axes[0] @ target[0] > 0 else np.diag([1.0, -1.0, -1.0])
    return _basis(target[0], wanted_second) @ _basis(axes[0], second).T


def _least_turned(axis: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Direction across `axis` that the shortest rotation to `target` keeps in its plane."""
    return np.cross(np.cross(axis, target), axis)


def _basis(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Orthonormal columns: along `first`, along the rest of `second`, and across both."""
    x = first / np.linalg.norm(first)
    y = second - (second @ x) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], 1)


def _angles_deg(rotations: np.ndarray, operators: np.ndarray) -> np.ndarray:
    """(m, o) angles between superpositions and operators."""
    traces = np.einsum("mij,oij->mo", rotations, operators)
    return np.degrees(np.arccos(np.clip((traces - 1) / 2, -1, 1)))


def _disagreement_deg(rotations: np.ndarray, operators: np.ndarray) -> float:
    """Largest angle from an operator (but the identity) to the nearest superposition."""
    return float(_angles_deg(rotations, operators[1:]).min(0).max())


def _matching(rotations: np.ndarray, operators: np.ndarray) -> list[int]:
    """Superposition nearest to each operator but the identity."""
    return [int(i) for i in _angles_deg(rotations, operators[1:]).argmin(0)]
