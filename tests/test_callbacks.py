import keras
import numpy as np
import pytest
from keras import layers

import vgp_lib as vgp

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = (X[:, 0] > 0).astype("float32")


def small_model(*first, shape=(3,)):
    first = first or [layers.Dense(4, "tanh", name="first")]
    return keras.Sequential([keras.Input(shape), *first, layers.Flatten(), layers.Dense(1, "sigmoid")])


def fit(model, optimizer="sgd", epochs=1, batch_size=8, callbacks=(), x=X):
    model.compile(optimizer, "binary_crossentropy", run_eagerly=True)  # eager: nothing to trace
    snapshots = vgp.WeightSnapshots()
    model.fit(x, Y, epochs=epochs, batch_size=batch_size, verbose=0, callbacks=[snapshots, *callbacks])
    return snapshots


# Weights


def test_every_epoch_holds_the_weights_that_keras_has_then():
    model, kept = small_model(), []
    initial = model.layers[0].get_weights()[0]
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: kept.append(model.layers[0].get_weights()[0]))
    weights = fit(model, keras.optimizers.Adam(0.1), epochs=3, batch_size=3, callbacks=[keep]).weights
    assert weights.shape == (4, 3, 4)
    np.testing.assert_array_equal(weights, [initial, *kept])
    np.testing.assert_array_equal(weights[-1], model.layers[0].get_weights()[0])
    assert all((weights[i] != weights[i + 1]).any() for i in range(3))


def test_graph_execution_gives_the_same_snapshots():
    def run(**how):
        keras.utils.set_random_seed(1)
        model, snapshots = small_model(), vgp.WeightSnapshots()
        model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", **how)
        model.fit(X, Y, epochs=2, batch_size=4, verbose=0, callbacks=[snapshots])
        return snapshots

    eager, graph = run(run_eagerly=True), run(jit_compile=False, steps_per_execution=2)
    np.testing.assert_allclose(eager.weights, graph.weights, rtol=1e-5, atol=1e-7)
    assert "2 steps lie between" in eager.derivation and graph.derivation == eager.derivation


def test_a_second_fit_starts_anew():
    model, snapshots = small_model(), vgp.WeightSnapshots()
    model.compile("sgd", "binary_crossentropy", run_eagerly=True)
    for epochs in (3, 1):
        before = model.layers[0].get_weights()[0]
        model.fit(X, Y, epochs=epochs, verbose=0, callbacks=[snapshots])
        assert snapshots.weights.shape == (epochs + 1, 3, 4)
        np.testing.assert_array_equal(snapshots.weights[0], before)


@pytest.mark.parametrize(
    ("first", "shape", "kernel"),
    [
        ([layers.BatchNormalization(), layers.Dense(5), layers.Dense(4)], (3,), (3, 5)),
        ([layers.Reshape((3, 1)), layers.Conv1D(5, 2)], (3,), (2, 1, 5)),
        ([layers.Reshape((3, 1)), layers.SimpleRNN(5)], (3,), (1, 5)),
    ],
    ids=["after normalization", "conv", "recurrent"],
)
def test_kernel_is_that_of_the_first_layer_that_has_one(first, shape, kernel):
    assert fit(small_model(*first, shape=shape)).weights.shape == (2, *kernel)


def test_kept_weights_are_the_callers_own():
    snapshots = fit(small_model())
    snapshots.weights[:] = 0
    assert snapshots.weights.all()


# Derivation

PLAIN = "(old - new) / learning_rate is the gradient, up to rounding: one plain SGD step between snapshots."


@pytest.mark.parametrize("epochs", [1, 3])
def test_one_plain_sgd_step_is_the_gradient(epochs):
    assert fit(small_model(), keras.optimizers.SGD(0.1), epochs).derivation == PLAIN


def test_the_sentence_is_true_of_the_numbers():
    model, snapshots = small_model(), vgp.WeightSnapshots()
    kernel, bias = model.layers[0].get_weights()
    step = 1e-2
    bumped = kernel.copy()
    bumped[1, 2] += step
    losses = []
    for trial in (bumped, 2 * kernel - bumped):
        model.layers[0].set_weights([trial, bias])
        losses.append(np.mean(keras.losses.binary_crossentropy(Y[:, None], model(X))))
    model.layers[0].set_weights([kernel, bias])
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy", run_eagerly=True)
    model.fit(X, Y, verbose=0, callbacks=[snapshots])
    assert snapshots.derivation == PLAIN
    gradient = vgp.gradient_from_update(*snapshots.weights, 0.5)
    assert gradient[1, 2] == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-2)


NOT_PLAIN = {
    "Adam": (lambda: keras.optimizers.Adam(), "Adam does not step by learning_rate times the gradient"),
    "RMSprop": (lambda: keras.optimizers.RMSprop(), "RMSprop does not step"),
    "name": (lambda: "adam", "Adam does not step"),
    "momentum": (lambda: keras.optimizers.SGD(momentum=0.9), "momentum adds earlier gradients"),
    "nesterov": (lambda: keras.optimizers.SGD(momentum=0.9, nesterov=True), "momentum"),
    "clipnorm": (lambda: keras.optimizers.SGD(clipnorm=1.0), "clipping changes the gradient"),
    "clipvalue": (lambda: keras.optimizers.SGD(clipvalue=1.0), "clipping changes the gradient"),
    "global_clipnorm": (lambda: keras.optimizers.SGD(global_clipnorm=1.0), "clipping changes the gradient"),
    "weight decay": (lambda: keras.optimizers.SGD(weight_decay=0.1), "weight decay moves the weights too"),
    "accumulation": (lambda: keras.optimizers.SGD(gradient_accumulation_steps=2), "gradients of several batches"),
    "averaging": (lambda: keras.optimizers.SGD(use_ema=True), "averaging"),
    "schedule": (
        lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)),
        "the learning rate follows a schedule",
    ),
}


@pytest.mark.parametrize(("optimizer", "reason"), NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_anything_but_plain_sgd_is_named_as_the_reason(optimizer, reason):
    sentence = fit(small_model(), optimizer()).derivation
    assert sentence.startswith("(old - new) / learning_rate is not the gradient: ")
    assert reason in sentence and "steps lie between" not in sentence


@pytest.mark.parametrize(("batch_size", "steps"), [(4, 2), (3, 3), (1, 8)])
def test_many_steps_an_epoch_are_named_and_counted(batch_size, steps):
    sentence = fit(small_model(), keras.optimizers.SGD(0.1), epochs=2, batch_size=batch_size).derivation
    assert sentence == f"(old - new) / learning_rate is not the gradient: {steps} steps lie between two snapshots."


def test_a_learning_rate_changed_by_a_callback_is_noticed():
    halve = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(model.optimizer, "learning_rate", 0.1 / (1 + epoch))
    )
    model, snapshots = small_model(), vgp.WeightSnapshots()
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    model.fit(X, Y, epochs=2, batch_size=8, verbose=0, callbacks=[snapshots, halve])
    assert snapshots.derivation.endswith("not the gradient: the learning rate changed from step to step.")
    model.fit(X, Y, epochs=2, batch_size=8, verbose=0, callbacks=[snapshots])
    assert snapshots.derivation == PLAIN


def test_all_reasons_are_given():
    sentence = fit(small_model(), keras.optimizers.SGD(momentum=0.9, clipvalue=1.0), batch_size=4).derivation
    assert all(reason in sentence for reason in ("momentum", "clipping", "2 steps"))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Dense(4, "tanh", kernel_constraint=keras.constraints.MaxNorm(0.1)),
        lambda: layers.Dense(4, "tanh", trainable=False),
    ],
    ids=["constraint", "frozen"],
)
def test_a_kernel_that_does_not_follow_the_gradient_is_not_said_to(layer):
    sentence = fit(small_model(layer()), keras.optimizers.SGD(0.1)).derivation
    assert sentence.startswith("(old - new) / learning_rate is not the gradient: ")


def test_derivation_is_that_of_the_last_fit():
    model, snapshots = small_model(), vgp.WeightSnapshots()
    for batch_size, words in ((4, "2 steps lie between"), (8, PLAIN)):
        model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", run_eagerly=True)
        model.fit(X, Y, batch_size=batch_size, verbose=0, callbacks=[snapshots])
        assert words in snapshots.derivation


# Errors


@pytest.mark.parametrize("attribute", ["weights", "derivation"])
def test_before_training_the_fix_is_named(attribute):
    with pytest.raises(ValueError, match=r"pass this object to model\.fit\(\.\.\., callbacks=\[snapshots\]\)"):
        getattr(vgp.WeightSnapshots(), attribute)


def test_model_without_a_kernel_is_refused_before_training():
    model = keras.Sequential([keras.Input((1,)), layers.PReLU(), layers.Activation("sigmoid")])
    model.compile("sgd", "binary_crossentropy", run_eagerly=True)
    with pytest.raises(ValueError, match="has no layer with a kernel"):
        model.fit(X[:, :1], Y, verbose=0, callbacks=[vgp.WeightSnapshots()])


def test_model_that_only_its_first_batch_would_build_is_refused_before_training():
    model = keras.Sequential([layers.Dense(4, "tanh"), layers.Dense(1, "sigmoid")])  # no initial weights to keep
    with pytest.raises(ValueError, match=r"is not built; begin it with keras\.Input"):
        fit(model)


# Where nan began


def exploding_model(rate=0.1, **how):
    wide = keras.initializers.RandomNormal(stddev=2.0)
    model = vgp.build_mlp(10, activation="relu", kernel_initializer=wide, input_dim=3, seed=3)
    model.compile(keras.optimizers.SGD(rate), "binary_crossentropy", **how)
    return model


def watch(model, epochs=3, **options):
    stop = vgp.StopAtNaN(X, Y)
    options = {"epochs": epochs, "batch_size": 4, "shuffle": False, "verbose": 0} | options
    return stop, model.fit(X, Y, callbacks=[stop], **options)


def test_the_step_and_the_first_layer_of_an_overflow_are_those_of_a_plain_loop(capsys):
    model, loop = exploding_model(), exploding_model(run_eagerly=True)
    stop, history = watch(model)
    for step in range(6):
        before, batch = loop.get_weights(), slice(4 * (step % 2), 4 * (step % 2) + 4)
        loop.train_on_batch(X[batch], Y[batch])
        if not all(np.isfinite(w).all() for w in loop.get_weights()):
            break
    assert (stop.epoch, stop.batch) == (step // 2 + 1, step % 2 + 1)
    assert len(history.history["loss"]) == stop.epoch
    h, names = X, [layer.name for layer in model.layers[1:]]
    with np.errstate(over="ignore", invalid="ignore"):
        for name, kernel, bias in zip(names, before[::2], before[1::2], strict=True):
            z = h @ kernel + bias
            h = z if name == "output" else np.maximum(z, 0)
            if not np.isfinite(h).all():
                break
    assert stop.layer == name and not np.isfinite(h).all()
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    text = capsys.readouterr().out
    assert text == stop.sentence + "\n" == f"{stop}\n"
    assert f"epoch {stop.epoch}, batch {stop.batch}: the output of layer '{stop.layer}' is the first" in text


def test_a_healthy_run_is_not_stopped_and_nothing_is_printed(capsys):
    model = small_model()
    model.compile("sgd", "binary_crossentropy", run_eagerly=True)
    stop, history = watch(model)
    assert len(history.history["loss"]) == 3
    assert stop.epoch is None and stop.layer is None and "was finite" in repr(stop)
    assert capsys.readouterr().out == ""


def test_a_new_fit_forgets_the_old_one():
    model = exploding_model(run_eagerly=True)
    stop, _ = watch(model)
    assert stop.epoch
    model = small_model()
    model.compile("sgd", "binary_crossentropy", run_eagerly=True)
    model.fit(X, Y, verbose=0, callbacks=[stop])
    assert stop.epoch is None and stop.layer is None


def test_a_step_that_overflows_with_finite_gradients_names_the_weight():
    model = small_model()
    model.compile(keras.optimizers.SGD(3e38), lambda y, p: 1e4 * (y - p) ** 2, run_eagerly=True)
    stop, _ = watch(model, epochs=1, batch_size=8)
    assert stop.layer is None and stop.batch == 1
    assert "gradients are finite" in stop.sentence and "kernel" in stop.sentence


def test_an_infinite_loss_is_told_from_an_infinite_layer():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, kernel_initializer=keras.initializers.Constant(1e25))])
    model.compile("sgd", "mse", run_eagerly=True)
    stop, _ = watch(model)
    assert stop.layer is None and "the loss is not" in stop.sentence


def test_it_works_for_a_recurrent_net_and_several_steps_per_execution():
    model = vgp.build_rnn(activation="relu", recurrent_initializer=keras.initializers.Constant(10.0), seed=1)
    model.compile("sgd", "mse", steps_per_execution=2, jit_compile=False)
    x = np.ones((8, 60, 1), "float32")
    stop = vgp.StopAtNaN(x, Y)
    model.fit(x, Y, batch_size=4, verbose=0, callbacks=[stop])
    assert (stop.epoch, stop.batch, stop.layer) == (1, 2, "recurrent")


def test_bad_data_is_refused_at_once():
    with pytest.raises(ValueError, match="x has 8 samples and y has 3"):
        vgp.StopAtNaN(X, Y[:3])


def test_stop_at_nan_says_at_once_that_its_data_do_not_fit():
    model = vgp.build_mlp(2, activation="relu", seed=0)
    model.compile("sgd", loss="binary_crossentropy")
    moons = vgp.load_moons()
    with pytest.raises(ValueError):
        model.fit(moons.x_train, moons.y_train, verbose=0, callbacks=[vgp.StopAtNaN(np.zeros((5, 3)), np.zeros(5))])
    assert int(model.optimizer.iterations) == 0
