//! The row operations of the backend behind every CubeCL device.
use std::sync::Arc;

use burn::backend::{
    ops::FloatTensorOps,
    tensor::{FloatTensor, IntTensor},
};
use burn_cubecl::CubeBackend;

use super::{
    CubeMap,
    launch::{Forward, Rows, Vjp},
};
use crate::{
    kernel::{LossInput, LossKernel, MapSaved, RowGrads, RowKeep, RowKernel, RowOps, RowParams, RowVjps},
    loss::LossDtype,
};

impl RowOps for CubeBackend {
    fn row_map(
        scores: FloatTensor<Self>,
        row_params: RowParams<Self>,
        keep: RowKeep<Self>,
        kernel: Arc<dyn RowKernel>,
    ) -> FloatTensor<Self> {
        let code = code(&*kernel);
        let rows = Rows::new(&scores, row_params, keep, &*kernel, &code.constants);
        (code.forward)(Forward { scores, rows })
    }

    fn row_loss(
        _: FloatTensor<Self>,
        _: RowParams<Self>,
        _: IntTensor<Self>,
        _: RowKeep<Self>,
        kernel: Arc<dyn LossKernel>,
        _: LossDtype,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        no_losses(&*kernel)
    }

    fn row_mean(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_mean(x)
    }
}

impl RowVjps for CubeBackend {
    fn row_map_vjp(saved: MapSaved<Self>, g: FloatTensor<Self>) -> RowGrads<Self> {
        let MapSaved { scores, weights, row_params, keep, kernel } = saved;
        let code = code(&*kernel);
        let rows = Rows::new(&scores, row_params, keep, &*kernel, &code.constants);
        (code.vjp)(Vjp { scores, weights, g, rows })
    }

    fn row_loss_vjp(input: LossInput<Self>, _: FloatTensor<Self>, _: FloatTensor<Self>) -> RowGrads<Self> {
        no_losses(&*input.kernel)
    }
}

fn code(kernel: &dyn RowKernel) -> CubeMap {
    kernel.cube().unwrap_or_else(|| {
        panic!("the map {kernel:?} has no cube code and runs composed on this device: ask `kernel::runs` first")
    })
}

fn no_losses(kernel: &dyn LossKernel) -> ! {
    panic!("the loss {kernel:?} runs composed on this device: ask `kernel::supports` first")
}
