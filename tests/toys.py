"""Small served models: signatures that a server must bear, no net of ours."""

import tensorflow as tf


class Strange(tf.Module):
    """Signatures that zfkeras would not write: no checks, scalars, loops, halves, examples."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 5, 3], tf.float32, name="pixels")])
    def bare(self, pixels):
        return {"y": tf.nn.conv2d(pixels, tf.ones([3, 3, 3, 2]), 1, "SAME")}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def joined(self, text):
        return {"all": tf.strings.reduce_join(text), "all_bytes": tf.strings.reduce_join(text)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def one_text(self, text):
        return {"all": tf.strings.reduce_join(text)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.half, name="x")])
    def half(self, x):
        return {"y": x}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def any_rank(self, x):
        return {"y": x * 2}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="rounds")])
    def loop(self, rounds):
        """Some 10 ms a round."""
        matrix = tf.eye(500)
        for _ in tf.range(rounds[0]):
            matrix = tf.linalg.matmul(matrix, matrix)
        return {"y": tf.fill(tf.shape(rounds), matrix[0, 0])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classes(self, inputs):
        features = tf.io.parse_example(
            inputs,
            {
                "a": tf.io.FixedLenFeature([], tf.float32),
                "name": tf.io.FixedLenFeature([], tf.string, ""),
            },
        )
        a, name = features["a"], features["name"]
        labels = tf.stack([name, tf.strings.join([name, "!"])], 1)
        return {"classes": labels, "scores": tf.stack([a, 1 - a], 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def values(self, inputs):
        spec = {"n": tf.io.FixedLenFeature([2], tf.int64)}
        numbers = tf.io.parse_example(inputs, spec)["n"]
        return {"outputs": tf.cast(tf.reduce_sum(numbers, 1, keepdims=True), tf.float32)}

    def save(self, path):
        names = "bare joined one_text half any_rank loop classes values".split()
        tf.saved_model.save(
            self,
            str(path),
            signatures={**{n: getattr(self, n) for n in names}, "serving_default": self.any_rank},
        )
        return path
