//! The CPU kernels on Burn's tensors.
use burn::{
    backend::{Flex, TensorMetadata, flex::FlexTensor},
    tensor::DType,
};

use super::{ConvKernel, ConvSaved, columns, geometry::Geometry};
use crate::kernel::host::{Real, owned, plane_sums};

impl ConvKernel for Flex {
    fn conv_forward(saved: ConvSaved<Self>, bias: Option<FlexTensor>) -> FlexTensor {
        match saved.x.dtype() {
            DType::F32 => forward::<f32>(&saved, bias.as_ref()),
            DType::F64 => forward::<f64>(&saved, bias.as_ref()),
            _ => super::forward::<Self>(saved, bias),
        }
    }

    fn conv_backward(saved: ConvSaved<Self>, grad: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        match grad.dtype() {
            DType::F32 => backward::<f32>(&saved, grad, wanted),
            DType::F64 => backward::<f64>(&saved, grad, wanted),
            _ => super::backward::<Self>(saved, grad, wanted),
        }
    }
}

fn geometry(saved: &ConvSaved<Flex>) -> (Geometry, usize) {
    let x = saved.x.shape().dims::<4>();
    (Geometry::new(x, saved.weight.shape().dims::<4>(), saved.stride, saved.padding), x[0])
}

/// A dtype and the fastest form that it has.
trait Element: Real {
    fn forward(x: &[Self], weight: &[Self], bias: Option<&[Self]>, g: &Geometry, rows: usize) -> Vec<Self> {
        columns::forward(x, weight, bias, g, rows)
    }

    fn input_gradient(grad: &[Self], weight: &[Self], g: &Geometry, rows: usize) -> Vec<Self> {
        columns::input_gradient(grad, weight, g, rows)
    }

    fn weight_gradient(x: &[Self], grad: &[Self], g: &Geometry, rows: usize) -> Vec<Self> {
        columns::weight_gradient(x, grad, g, rows)
    }
}

impl Element for f64 {}

#[cfg(not(target_arch = "x86_64"))]
impl Element for f32 {}

#[cfg(target_arch = "x86_64")]
impl Element for f32 {
    fn forward(x: &[f32], weight: &[f32], bias: Option<&[f32]>, g: &Geometry, rows: usize) -> Vec<f32> {
        match direct(g) {
            Some(isa) => super::direct::forward(x, weight, bias, g, rows, isa),
            None => columns::forward(x, weight, bias, g, rows),
        }
    }

    fn input_gradient(grad: &[f32], weight: &[f32], g: &Geometry, rows: usize) -> Vec<f32> {
        match direct(g) {
            Some(isa) => super::direct::input_gradient(grad, weight, g, rows, isa),
            None => columns::input_gradient(grad, weight, g, rows),
        }
    }

    fn weight_gradient(x: &[f32], grad: &[f32], g: &Geometry, rows: usize) -> Vec<f32> {
        match direct(g) {
            Some(isa) => super::direct::weight_gradient(x, grad, g, rows, isa),
            None => columns::weight_gradient(x, grad, g, rows),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn direct(g: &Geometry) -> Option<super::direct::Isa> {
    if super::direct::covers(g) { super::direct::Isa::available().next() } else { None }
}

fn forward<R: Element>(saved: &ConvSaved<Flex>, bias: Option<&FlexTensor>) -> FlexTensor {
    let (g, rows) = geometry(saved);
    let (x, weight) = (saved.x.to_contiguous(), saved.weight.to_contiguous());
    let bias = bias.map(FlexTensor::to_contiguous);
    let y = R::forward(R::view(&x), R::view(&weight), bias.as_ref().map(R::view), &g, rows);
    R::tensor(y, [rows, g.outputs, g.map[0], g.map[1]])
}

fn backward<R: Element>(saved: &ConvSaved<Flex>, grad: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
    let (g, rows) = geometry(saved);
    let grad = owned(grad);
    let grad = R::view(&grad);
    let x = wanted[0].then(|| {
        let weight = saved.weight.to_contiguous();
        R::tensor(R::input_gradient(grad, R::view(&weight), &g, rows), [rows, g.inputs, g.image[0], g.image[1]])
    });
    let weight = wanted[1].then(|| {
        let x = saved.x.to_contiguous();
        R::tensor(R::weight_gradient(R::view(&x), grad, &g, rows), [g.outputs, g.inputs, g.kernel, g.kernel])
    });
    let bias = wanted[2].then(|| R::tensor(plane_sums(grad, g.outputs, g.map[0] * g.map[1]), [g.outputs]));
    [x, weight, bias]
}
