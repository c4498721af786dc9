//! The kernel beside Burn and beside the composed form.
use burn::tensor::{DType, activation::relu, module};

use super::*;
use crate::testing::{assert_close, normal, on_threads, values};

const EPS: f64 = 1e-3;

/// Epilogues, without and with a residual.
const FORMS: [(Epilogue, bool); 4] =
    [(Epilogue::None, false), (Epilogue::Relu, false), (Epilogue::None, true), (Epilogue::Relu, true)];

/// Output, moments and gradients of `Σ c y`.
fn run(
    shape: [usize; 4],
    dtype: DType,
    op: impl Fn(Tensor<4>, Tensor<1>, Tensor<1>, Tensor<4>) -> BatchNormed,
) -> Vec<Vec<f64>> {
    // Away from 0, so that a variance that loses digits shows.
    let x = normal(shape, dtype, "x");
    let (w, b) = (normal([shape[1]], dtype, "w"), normal([shape[1]], dtype, "b"));
    let (c, residual) = (normal(shape, dtype, "c").detach(), normal(shape, dtype, "residual"));
    let found = op(x.clone().add_scalar(3.0), w.clone(), b.clone(), residual.clone());
    let gradients = (found.output.clone() * c).sum().backward();
    let of = |x: Option<Tensor<1>>| values(&x.unwrap());
    vec![
        values(&found.output),
        values(&found.mean),
        values(&found.variance),
        values(&x.grad(&gradients).unwrap()),
        of(w.grad(&gradients)),
        of(b.grad(&gradients)),
        residual.grad(&gradients).map(|grad| values(&grad)).unwrap_or_default(),
    ]
}

fn of_burn(x: Tensor<4>, w: Tensor<1>, b: Tensor<1>, residual: Option<Tensor<4>>, epilogue: Epilogue) -> BatchNormed {
    let batch = module::batch_norm_train(x, w, b, EPS);
    let sum = residual.map_or(batch.output.clone(), |residual| batch.output + residual);
    let output = if epilogue == Epilogue::Relu { relu(sum) } else { sum };
    BatchNormed { output, mean: batch.mean, variance: batch.variance }
}

#[test]
fn kernel_agrees_with_burn() {
    for shape in [[3, 2, 5, 7], [1, 3, 1, 2], [64, 5, 3, 3], [2, 17, 31, 33], [4, 1, 1, 1]] {
        for (epilogue, adds) in FORMS {
            let plain = run(shape, DType::F64, |x, w, b, r| of_burn(x, w, b, adds.then_some(r), epilogue));
            for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-3)] {
                if dtype == DType::F32 && epilogue == Epilogue::Relu {
                    // An output next to 0 may fall on either side in a narrower dtype.
                    continue;
                }
                let kernel =
                    run(shape, dtype, |x, w, b, r| batch_norm_train(x, w, b, adds.then_some(r), EPS, epilogue));
                let names = ["y", "mean", "var", "dx", "dw", "db", "dr"];
                for ((kernel, plain), name) in kernel.iter().zip(&plain).zip(names) {
                    let what = format!("{name} {shape:?} {dtype:?} {epilogue:?} {adds}");
                    assert_close(&what, kernel, plain, tolerance);
                }
            }
        }
    }
}

#[test]
#[cfg(feature = "flex")]
fn composed_form_agrees_with_the_kernel() {
    use burn::backend::Flex;

    use crate::kernel::host::Real;

    let shape = [3, 2, 5, 7];
    let draw = |len: usize, name: &str| values(&normal([len], DType::F64, name));
    let grad = f64::tensor(draw(210, "g"), shape);
    for (epilogue, adds) in FORMS {
        let residual = adds.then(|| f64::tensor(draw(210, "r"), shape));
        let x = f64::tensor(draw(210, "x"), shape);
        let [weight, bias] = ["w", "b"].map(|name| f64::tensor(draw(2, name), [2]));
        let moments = super::moments::<Flex>(x.clone());
        let of_kernel = Flex::batch_norm_moments(x.clone());
        assert_close("moments", f64::view(&of_kernel), f64::view(&moments), 1e-13);
        let mut saved = BatchNormSaved::<Flex> { x, moments, weight, bias, eps: EPS, epilogue, output: None };
        let plain = super::forward::<Flex>(&saved, residual.clone());
        let kernel = Flex::batch_norm_forward(&saved, residual);
        saved.output = (adds && epilogue == Epilogue::Relu).then(|| plain.clone());
        assert_close("y", f64::view(&kernel), f64::view(&plain), 1e-12);
        let plain = super::backward::<Flex>(saved.clone(), grad.clone());
        let kernel = Flex::batch_norm_backward(saved, grad.clone());
        // The last is the residual's, and means something only if there is one.
        for (kernel, plain) in kernel.iter().zip(&plain).take(if adds { 4 } else { 3 }) {
            assert_close("gradients", f64::view(kernel), f64::view(&plain.to_contiguous()), 1e-12);
        }
    }
}

#[test]
fn thread_count_moves_no_bit() {
    let work = || run([33, 5, 7, 9], DType::F32, |x, w, b, r| batch_norm_train(x, w, b, Some(r), EPS, Epilogue::Relu));
    let one = on_threads(1, work);
    assert_eq!(one, on_threads(2, work));
    assert_eq!(one, on_threads(3, work));
}
