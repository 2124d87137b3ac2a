"""The only place that touches the inside of Keras and TensorFlow: what has no public way, one function for each touch.

Names here that begin with an underscore belong to Keras 3.10 to 3.15 and TensorFlow 2.19 to 2.21. Each is tested in
tests/test_keras.py by what it does, so that a change in Keras turns a test red instead of a result wrong.
"""

import contextlib
import copy
import itertools
import logging
import random
import types

import keras
import tensorflow as tf

_RECURRENT_LAYERS = (keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)


def is_keras(thing):
    """Tell whether a function, class or object is Keras's own."""
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return module.partition(".")[0] == "keras"


def couples(part):
    """Tell whether a layer or a loss may let the samples of a batch act on each other; in doubt it may."""
    knows_others = isinstance(part, keras.layers.BatchNormalization) or getattr(part, "activity_regularizer", None)
    return is_foreign(part) or knows_others or getattr(part, "ignore_class", None) is not None


def is_foreign(thing):
    """Tell whether something is, or holds, anything else than layers and functions of Keras's own."""
    # A model's attributes are layers, which are asked themselves, and what compile and fit have left behind.
    model = isinstance(thing, keras.Model)
    held = [thing, type(thing).call] if model else [thing, *getattr(thing, "__dict__", {}).values()]
    inside = [part for part in getattr(thing, "operations", []) if not isinstance(part, keras.Layer)]
    foreign = not all(is_keras(part) for part in held if callable(part))
    return foreign or bool(inside) or isinstance(thing, keras.layers.Lambda)


def all_layers(layer):
    """List a layer or model and all layers inside it, parents first, in the order in which they were added."""
    found, waiting = {}, [layer]
    while waiting:
        layer = waiting.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            # `layers` of a functional model is in the order of its graph; others list what they were given.
            waiting += reversed(layer.layers if isinstance(layer, keras.Model) else layer._layers)
    return list(found.values())


def kernel_layers(model, x=None):
    """List the layers of a built model that have a kernel, in the order of the forward pass; of x the first sample."""
    found = layers_with_kernel(model)
    if len(found) > 1:
        found = [layer for layer in forward_order(model, x) if any(layer is other for other in found)]
    return found


def forward_order(model, x=None):
    """List a built model and all layers inside it, in the order in which they are first called."""
    found = all_layers(model)
    # The order of a `call` that Keras has not written is seen by calling it.
    own = any(layer._layers and not is_keras(type(layer).call) for layer in found)
    return _call_order(model, x) if own else found


def layers_with_kernel(model):
    """List the layers of a built model that have a kernel, as they were added; recurrent kernels do not count."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"model is a {type(model).__name__}; give a keras.Model")
    if not model.built:
        raise ValueError(f"The model {model.name!r} is not built; begin it with keras.Input(…) or call model.build(…)")
    one_in_one_out(model)
    layers = all_layers(model)
    inside = _inside_other_recurrent(layers)
    layers = [layer for layer in layers if id(layer) not in inside and not is_other_recurrent(layer)]
    # A cell has the kernel of its layer, SpectralNormalization that of the layer that it wraps: neither counts twice.
    twice = {id(kernel_owner(one)) for one in layers if isinstance(one, (keras.layers.RNN, keras.layers.Wrapper))}
    found = [layer for layer in layers if id(layer) not in twice and hasattr(kernel_owner(layer), "kernel")]
    if not found:
        message = f"The model {model.name!r} has no layer with a kernel; "
        raise ValueError(message + "give one with a Dense, Conv or recurrent layer")
    return found


def one_in_one_out(model):
    """Raise `ValueError` if a model has several inputs or outputs."""
    for what in ("inputs", "outputs"):
        number = len(getattr(model, what, None) or [1])
        if number > 1:
            raise ValueError(f"The model {model.name!r} has {number} {what}; give a model with one")


def is_other_recurrent(layer):
    """Tell whether a layer is recurrent, but no SimpleRNN, LSTM or GRU; its kernels lie in cells of other forms."""
    return isinstance(layer, keras.layers.RNN) and not isinstance(layer, _RECURRENT_LAYERS)


def without_one_kernel(model):
    """List the layers with weight matrices that are none of `layers_with_kernel`, nor inside one."""
    layers = all_layers(model)
    measured = {id(weight) for layer in layers_with_kernel(model) for weight in layer.weights}
    inside = _inside_other_recurrent(layers)
    leaves = [layer for layer in layers if id(layer) not in inside]
    leaves = [layer for layer in leaves if len(all_layers(layer)) == 1 or is_other_recurrent(layer)]
    shaped = [[weight for weight in layer.weights if len(weight.shape) > 1] for layer in leaves]
    pairs = zip(leaves, shaped, strict=True)
    return [layer for layer, weights in pairs if any(id(weight) not in measured for weight in weights)]


def _inside_other_recurrent(layers):
    """Ids of the cells, and what else is inside, of recurrent layers of other forms."""
    return {id(part) for layer in layers if is_other_recurrent(layer) for part in all_layers(layer)[1:]}


def kernel_owner(layer):
    """Return what holds the kernel: of a recurrent layer its cell, else the layer itself."""
    return layer.cell if isinstance(layer, keras.layers.RNN) else layer


def _call_order(model, x):
    """List the layers of a model in the order in which they are first called."""
    double, originals = twin(model)
    order = {}
    for layer in all_layers(double):

        def call(*args, layer=layer, run=layer.call, **kwargs):
            order.setdefault(id(layer), originals[id(layer)])
            return run(*args, **kwargs)

        override(layer, call=call)
    with keras.StatelessScope(), quiet_tracing():
        if x is not None:
            double(x[:1], training=False)
        else:
            inputs = getattr(model, "inputs", None)  # None in a subclassed model
            shapes = [tensor.shape for tensor in inputs] if inputs else model.get_build_config().values()
            run = tf.function(lambda *inputs: double(*inputs), autograph=False)
            run.get_concrete_function(*[tf.TensorSpec(shape, "float32") for shape in shapes])
    return list(order.values())


def twin(model, in_float32=False):
    """Copy a model with every layer in it, which share their variables: what is done to the copy leaves it alone.

    Keras's own clones need a configuration, which custom layers may not have. In 16 bits small gradients would be lost.
    Returns the copy, and a dict from the id of each copied layer to the original.
    """
    made, waiting = {}, []

    def double(value):
        if isinstance(value, keras.Operation) or (type(value).__name__ == "Node" and is_keras(value)):
            if id(value) not in made:
                made[id(value)] = object.__new__(type(value))
                waiting.append(value)
            return made[id(value)]
        if isinstance(value, types.MethodType) and isinstance(value.__self__, keras.Operation):
            return types.MethodType(value.__func__, double(value.__self__))
        if isinstance(value, list):
            return [double(part) for part in value]
        if type(value) in (tuple, set):  # such as _loss_ids, which every call changes
            return type(value)(double(part) for part in value)
        return {key: double(part) for key, part in value.items()} if isinstance(value, dict) else value

    copied, originals = double(model), {}
    while waiting:
        original = waiting.pop()
        vars(made[id(original)]).update({name: double(value) for name, value in vars(original).items()})
        originals[id(made[id(original)])] = original
    for layer in all_layers(copied):
        _stand_alone(layer, in_float32)
    return copied, originals


def _stand_alone(layer, in_float32):
    """Let no measurement depend on earlier batches, nor, if asked for, on 16 bits."""
    if getattr(layer, "stateful", False):
        override(layer, stateful=False)
    if in_float32 and layer.compute_dtype in ("float16", "bfloat16"):
        vars(layer)["_dtype_policy"] = keras.DTypePolicy("float32")


def override(layer, **attributes):
    """Replace attributes of a twin's layer, past Keras's bookkeeping; raise if the layer does not follow."""
    vars(layer).update(attributes)
    for name, value in attributes.items():
        if getattr(layer, name) is not value:
            raise RuntimeError(f"Keras {keras.__version__} does not let vgp_lib replace {type(layer).__name__}.{name}")


def built(model, x):
    """Return a model, or, if it is not built yet, a copy with the weights that `fit` would draw for inputs like x."""
    if not isinstance(model, keras.Model) or model.built:
        return model
    copy = rebuild(model, keep=False, seeds=False)
    if copy is None:
        message = f"The model {model.name!r} is not built, and cannot be copied from a configuration; "
        raise ValueError(f"{message}call it once: model(x[:1])")
    if not copy.built:
        copy.build((None, *x.shape[1:]))
    return copy


def rebuild(model, change=lambda layer, config: None, keep=True, seeds=True):
    """Build a Sequential or functional model anew; None where a layer, or the model, has no configuration for that.

    Args:
        change: gives for a layer, and the configuration to make it with, another one in its place, or None.
        keep: layers that are not changed keep their weights; else they draw anew, but for what is not trained, such as
            the mean of a Normalization.
        seeds: initializers without a seed draw by one that depends on the place alone; else as `fit` would.
    """
    number = itertools.count()

    def seeded(value):
        if isinstance(value, dict):
            return {
                key: next(number) if key == "seed" and part is None else seeded(part) for key, part in value.items()
            }
        return [seeded(part) for part in value] if isinstance(value, list) else value

    def clone(layer):
        layer = originals[id(layer)]
        config = seeded(layer.get_config()) if seeds else layer.get_config()
        made = change(layer, config)
        if made is None:
            made = type(layer).from_config(config)
            pairs.append((layer, made))
        return made

    double, originals = _not_compiled(model)
    pairs, state = [], random.getstate()  # a seed that is not given is drawn by Python's generator
    try:
        copy = keras.models.clone_model(double, clone_function=clone, recursive=True)
        for old, new in pairs:
            if not seeds:
                _share_initializers(old, new)
            if old.built and (keep or not seeds or not old.trainable_variables):
                _hand_weights(old, new)
    except (NotImplementedError, TypeError, ValueError):  # no configuration, or one that does not make the layer again
        return None
    finally:
        random.setstate(state)
    return copy


def _not_compiled(model):
    """Twin a model without its loss: Keras would copy that too, which fails for a function of the caller's own."""
    double, originals = twin(model)
    for part in all_layers(double):
        if isinstance(part, keras.Model):
            override(part, compiled=False)
    return double, originals


def _hand_weights(old, new):
    """Unlike set_weights, this lets a layer such as Normalization take what it has adapted to."""
    if not new.built:
        new.build_from_config(old.get_build_config())
    for one, other in zip(all_layers(old), all_layers(new), strict=True):
        store = {}
        one.save_own_variables(store)
        if store:
            other.load_own_variables(store)


def _share_initializers(old, new):
    for one, other in zip(all_layers(old), all_layers(new), strict=True):
        mine = {name: value for name, value in vars(one).items() if isinstance(value, keras.initializers.Initializer)}
        override(other, **mine)


def as_function(model):
    """Return a model's variables, trainable ones first, and what turns (values, x) into (answer, values, penalties)."""
    double, _ = twin(model, in_float32=True)
    variables = [*model.trainable_variables, *model.non_trainable_variables]

    def run(values, x):
        # Unlike stateless_call, this can call a model whose call takes no argument `training`.
        with keras.StatelessScope(zip(variables, values, strict=True), collect_losses=True) as scope:
            answer, penalties = double(x, training=True), double.losses
        return answer, [scope.get_current_value(variable) for variable in variables], penalties

    return variables, run


def loops_over_time(model):
    """Tell whether a model has recurrent layers, which run much faster traced; but for those in a TimeDistributed."""
    found = all_layers(model)
    recurrent = any(isinstance(layer, keras.layers.RNN) for layer in found)
    return recurrent and not any(isinstance(layer, keras.layers.TimeDistributed) for layer in found)


def seeds_of(model):
    """List the variables that hold the states of a model's random generators, as of Dropout."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.non_trainable_variables if id(variable) not in weights]


def mask_of(tensor):
    """Return the mask that a layer such as Embedding(mask_zero=True) has attached to a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def copy_optimizer(optimizer, **changes):
    """Make a fresh optimizer of the same settings, but for `changes`; without state, and without loss scaling."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    if excludes_from_weight_decay(optimizer):
        raise ValueError("optimizer excludes variables from weight decay, which a copy cannot; give it none")
    config = optimizer.get_config() | {"loss_scale_factor": None} | changes
    if "learning_rate" not in config:  # MultiOptimizer
        raise ValueError(f"optimizer is a {type(optimizer).__name__}, without a learning rate; give one that has it")
    if isinstance(config["learning_rate"], dict):  # a schedule, perhaps of a class that a notebook has defined
        config["learning_rate"] = optimizer._learning_rate
    return type(optimizer).from_config(config)


def update_plainly(optimizer):
    """Let an optimizer update its variables one by one: TensorFlow's strategy, traced, keeps megabytes for good."""

    def update(gradients, variables, learning_rate):
        for gradient, variable in zip(gradients, variables, strict=True):
            optimizer.update_step(gradient, variable, learning_rate)

    # Nadam does more in that method, and stays as it is.
    if type(optimizer)._backend_update_step is keras.optimizers.Optimizer._backend_update_step:
        vars(optimizer)["_backend_update_step"] = update


def has_trained(optimizer, model):
    """Tell whether the optimizer's state belongs to the trainable variables of the model."""
    own = [id(variable) for variable in model.trainable_variables]
    return optimizer.built and [id(variable) for variable in optimizer._trainable_variables] == own


def schedule_of(optimizer):
    """Return the optimizer's schedule, or function, of learning rates, or None."""
    return optimizer._learning_rate if callable(optimizer._learning_rate) else None


def excludes_from_weight_decay(optimizer):
    """Tell whether some variables are excluded from the optimizer's weight decay."""
    names = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")
    return any(getattr(optimizer, name, None) for name in names)


class TracedSeed(keras.random.SeedGenerator):
    """Hand a traced seed to a Keras initializer, which takes Python integers and seed generators only."""

    def __init__(self, seed):
        self.value = seed

    def next(self, ordered=True):
        return tf.stack([self.value, 0])


def bound(function, ours, theirs):
    """Bind a concrete function to other variables than those it was traced with; they lie in two lists of one order."""
    function = copy.copy(function)
    handles = {id(one.handle): other.handle for one, other in zip(ours, theirs, strict=True)}
    function.set_external_captures([handles.get(id(handle), handle) for handle in function.captured_inputs])
    return function


@contextlib.contextmanager
def quiet_tracing():
    """Leave out the advice to retrace less or that vectorized_map loops: vgp_lib traces many small models once each."""

    def keep(record):
        return record.levelname == "ERROR" or not any(w in record.getMessage() for w in ("retracing", "while_loop"))

    logger = logging.getLogger("tensorflow")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def traced(function, **options):
    """Let TensorFlow run a function as a graph, without its advice to trace less."""
    graph = tf.function(function, autograph=False, **options)

    def run(*arguments):
        with quiet_tracing():
            return graph(*arguments)

    return run
