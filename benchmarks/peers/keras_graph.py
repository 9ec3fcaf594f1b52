"""TensorFlow: Keras layers and Adam in a tf.function."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import tensorflow as tf

from case import run, threads

tf.config.threading.set_intra_op_parallelism_threads(threads())
tf.config.threading.set_inter_op_parallelism_threads(1)


def make(case):
    assert not case.upgrad

    def dense(weight, bias, activation=None):
        return keras.layers.Dense(weight.shape[0], activation, kernel_initializer=keras.initializers.Constant(weight.T),
                                  bias_initializer=keras.initializers.Constant(bias))

    inputs = h = keras.Input((case.x.shape[1],))
    for i, (weight, bias) in enumerate(case.trunk):
        h = dense(weight, bias, "relu" if i + 1 < len(case.trunk) else None)(h)
    model = keras.Model(inputs, [dense(weight, bias)(h) for weight, bias in case.heads])
    optimizer = keras.optimizers.Adam(1e-3, epsilon=1e-8)
    optimizer.build(model.trainable_variables)
    x, targets = tf.constant(case.x), [tf.constant(t) for t in case.targets]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            outputs = outputs if isinstance(outputs, list) else [outputs]
            loss = tf.add_n([tf.reduce_mean(tf.square(y - t)) for y, t in zip(outputs, targets)])
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        return loss

    return step, lambda: None


run(make, f"TensorFlow {tf.__version__}, Keras {keras.__version__}")
