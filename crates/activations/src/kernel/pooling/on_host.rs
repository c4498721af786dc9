//! SoftPool on the host: planes of an image, spread over the threads.
use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::{DType, Shape},
};
use half::{bf16, f16};

use super::{
    PoolKeep, SoftWindow,
    soft::{Forward, Plane, Strip, Vjp},
};
use crate::kernel::{
    Double, Precision, Real, Single,
    host::{Floats, HostBackend, tensor},
    isa,
    on_host::with_storage,
    storage::Stored,
    tasks::{Tasks, of},
};

/// What the backward pass of SoftPool starts from.
#[derive(Debug, Clone)]
pub struct PoolSaved<B: Backend> {
    /// The image.
    pub x: FloatTensor<B>,
    /// Which of its cells took part.
    pub keep: PoolKeep<B>,
    /// The windows.
    pub soft: SoftWindow,
}

/// The planes of an image.
struct Planes {
    soft: SoftWindow,
    count: usize,
    size: [usize; 2],
    places: [usize; 2],
    valid: Option<Vec<u8>>,
}

impl Planes {
    fn read<B: HostBackend>(shape: &Shape, keep: PoolKeep<B>, soft: SoftWindow) -> Self {
        let size = [shape[2], shape[3]];
        let valid = match keep {
            PoolKeep::All => None,
            PoolKeep::Mask(mask) => Some(B::bools(mask).bytes()),
        };
        let places = size.map(|size| soft.window.places(size));
        Self { soft, count: shape[0] * shape[1], size, places, valid }
    }

    fn cells(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn outputs(&self) -> usize {
        self.places[0] * self.places[1]
    }

    fn plane<'a, T>(&'a self, x: &'a [T], at: usize) -> Plane<'a, T> {
        let valid = self.valid.as_ref().map(|valid| &valid[at * self.cells()..][..self.cells()]);
        Plane { soft: self.soft, size: self.size, x, valid }
    }

    fn forward<S: Stored<P>, P: Precision>(&self, x: &[S], y: &mut [S]) {
        let (cells, outputs) = (self.cells(), self.outputs());
        let tasks = Tasks::new(self.count, cells);
        tasks.run(tasks.split(y, outputs), |planes, y| {
            let (mut x_room, mut y_room) = (vec![P::T::of(0.0); cells], vec![P::T::of(0.0); outputs]);
            let mut strip = Strip::new(&self.soft, self.places[1]);
            for (at, y) in planes.zip(y.chunks_exact_mut(outputs)) {
                let x = S::load(&x[of(&(at..at + 1), cells)], &mut x_room);
                S::fill(y, &mut y_room, |y| isa::run(Forward { plane: self.plane(x, at), strip: &mut strip, y }));
            }
        });
    }

    fn vjp<S: Stored<P>, P: Precision>(&self, x: &[S], g: &[S], dx: &mut [S]) {
        let (cells, outputs) = (self.cells(), self.outputs());
        if cells == 0 {
            return;
        }
        let tasks = Tasks::new(self.count, cells);
        tasks.run(tasks.split(dx, cells), |planes, dx| {
            let room = |n: usize| vec![P::T::of(0.0); n];
            let (mut x_room, mut g_room, mut dx_room) = (room(cells), room(outputs), room(cells));
            let mut strip = Strip::new(&self.soft, self.places[1]);
            for (at, dx) in planes.zip(dx.chunks_exact_mut(cells)) {
                let x = S::load(&x[of(&(at..at + 1), cells)], &mut x_room);
                let g = S::load(&g[of(&(at..at + 1), outputs)], &mut g_room);
                S::fill(dx, &mut dx_room, |dx| {
                    isa::run(Vjp { plane: self.plane(x, at), strip: &mut strip, g, dx });
                });
            }
        });
    }
}

/// [`super::PoolOps::soft_pool`].
pub(super) fn soft_pool<B: HostBackend>(x: FloatTensor<B>, keep: PoolKeep<B>, soft: SoftWindow) -> FloatTensor<B> {
    let (shape, dtype, device) = (x.shape(), x.dtype(), x.device());
    let planes = Planes::read(&shape, keep, soft);
    let x = B::floats(x);
    with_storage!(dtype, S, P => {
        let mut y = vec![S::default(); planes.count * planes.outputs()];
        planes.forward::<S, P>(S::slice(&x), &mut y);
        tensor::<B, S>(y, [shape[0], shape[1], planes.places[0], planes.places[1]], &device)
    })
}

/// [`super::PoolVjps::soft_pool_vjp`].
pub(super) fn soft_pool_vjp<B: HostBackend>(saved: PoolSaved<B>, g: FloatTensor<B>) -> FloatTensor<B> {
    let PoolSaved { x, keep, soft } = saved;
    let (shape, dtype, device) = (x.shape(), x.dtype(), x.device());
    let planes = Planes::read(&shape, keep, soft);
    let (x, g) = (B::floats(x), B::floats(g));
    with_storage!(dtype, S, P => {
        let mut dx = vec![S::default(); planes.count * planes.cells()];
        planes.vjp::<S, P>(S::slice(&x), S::slice(&g), &mut dx);
        tensor::<B, S>(dx, shape, &device)
    })
}
