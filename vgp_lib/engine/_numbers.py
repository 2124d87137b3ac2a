"""The numbers of one layer that `inspect_layers` gives, from one part of the samples after the other."""

from types import SimpleNamespace

import numpy as np

from vgp_lib.engine._backpropagation import l2_norm, per_sample

# An activation passes on less than a hundredth of its delta beyond |z| = 4.6 (sigmoid) and |z| = 3.0 (tanh).
_FLAT_SLOPE = 0.01


def measure(run, probe, deltas, kernels):
    """Compute the moments and sums from which the numbers of a layer follow."""
    activations = per_sample(probe.activations, run.samples)
    slopes = np.concatenate([np.ravel(slope) for slope in probe.slopes] or [[np.nan]])
    batch, own = run.kernel_gradients(probe, deltas) if kernels else (np.nan, np.nan)
    return SimpleNamespace(
        share=run.share,
        mean=activations.mean(),
        variance=activations.var(),
        unit_mean=activations.mean(axis=0),
        unit_variance=activations.var(axis=0),
        saturated=np.nan if np.isnan(slopes).any() else (slopes < _FLAT_SLOPE).mean(),
        dead=(activations == 0).all(axis=(0, 1)),
        # The loss is a mean: the deltas of a part are those of the whole batch by its share.
        delta=run.share * l2_norm(per_sample(deltas, run.samples)),
        batch=run.share * batch if run.share < 1 else l2_norm(batch),
        own=run.share * np.atleast_1d(own),
    )


def merge(one, other):
    """Put the samples of two parts together; for the variances see Chan, Golub & LeVeque (1983), equation 2.1."""
    share = one.share + other.share
    weight = other.share / share

    def merged(mean, variance):
        away = getattr(other, mean) - getattr(one, mean)
        within = (1 - weight) * getattr(one, variance) + weight * getattr(other, variance)
        return {mean: getattr(one, mean) + weight * away, variance: within + weight * (1 - weight) * away**2}

    return SimpleNamespace(
        share=share,
        **merged("mean", "variance"),
        **merged("unit_mean", "unit_variance"),
        saturated=(1 - weight) * one.saturated + weight * other.saturated,
        dead=one.dead & other.dead,
        delta=l2_norm([one.delta, other.delta]),
        batch=np.add(one.batch, other.batch, out=one.batch),
        own=np.concatenate([one.own, other.own]),
    )


def of_layer(samples, layer):
    """Compute the layer's numbers, in the order of `LayerReport`."""
    return (
        layer.mean,
        np.sqrt(layer.variance),
        np.sqrt(layer.unit_variance.mean()),
        layer.saturated,
        layer.dead.mean(),
        samples**0.5 * l2_norm(layer.delta),
        l2_norm(layer.batch),
        # A sample's own gradient is its share of the batch's, times the number of samples.
        samples**0.5 * l2_norm(layer.own),
    )
