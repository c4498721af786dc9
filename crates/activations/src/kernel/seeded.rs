//! A scalar with a given gradient, so that a backward pass can start anywhere in a graph at no cost.
use burn::{
    backend::{
        Autodiff, Backend, Dispatch, DispatchDevice, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension, read_sync,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

/// The operation behind [`seeded`].
#[allow(deprecated, reason = "ndarray stays selectable as long as Burn has it")]
#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
pub trait SeedOps: Backend {
    /// A `[1]` of value 0 whose gradient at `y` is `g`.
    fn seeded(y: FloatTensor<Self>, g: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// A scalar (`[1]`) whose gradient at `y` is `g`: `seeded(y, g).backward()` carries `g` into the graph behind `y`.
///
/// It stands for ⟨y, g⟩ without the product: its value is 0, whatever `y` holds, so nothing is computed in the forward
/// pass, and a `y` of ±∞ or NaN does no harm. On a device without the operation it is the sum of the product.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use kiln_activations::kernel::seeded;
///
/// let device = Device::flex().autodiff();
/// let x = Tensor::<1>::from_floats([1.0, 2.0], &device).require_grad();
/// let g = Tensor::<1>::from_floats([3.0, 5.0], &device);
/// let gradients = seeded(x.clone() * 2.0, g).backward();
/// assert_eq!(x.grad(&gradients).unwrap().to_data().to_vec::<f32>().unwrap(), [6.0, 10.0]);
/// ```
///
/// # Panics
/// If the shapes or the dtypes differ.
pub fn seeded<const D: usize>(y: Tensor<D>, g: Tensor<D>) -> Tensor<1> {
    assert_eq!((y.dims(), y.dtype()), (g.dims(), g.dtype()), "a gradient is shaped and stored as what it belongs to");
    if !listed(y.device().as_dispatch()) {
        return (y * g).sum();
    }
    Tensor::from_dispatch(<Dispatch as SeedOps>::seeded(y.into_dispatch(), g.into_dispatch()))
}

/// Whether the backend is in the list of [`SeedOps`].
fn listed(device: &DispatchDevice) -> bool {
    match device {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        DispatchDevice::Autodiff(device) => listed(device),
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

macro_rules! without_graph {
    ($backend:ty) => {
        impl SeedOps for $backend {
            fn seeded(y: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
                zero::<Self>(&y)
            }
        }
    };
}

#[cfg(feature = "flex")]
without_graph!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
#[allow(deprecated, reason = "ndarray stays selectable as long as Burn has it")]
const _: () = {
    without_graph!(burn::backend::NdArray);
};

impl<B: Backend, C: CheckpointStrategy> SeedOps for Autodiff<B, C>
where
    B: SeedOps,
{
    fn seeded(y: FloatTensor<Self>, g: FloatTensor<Self>) -> FloatTensor<Self> {
        let (y, node) = y.into_parts();
        let (g, _) = g.into_parts();
        match SeededBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(zero::<B>(&y)),
            OpsKind::Tracked(prep) => prep.finish(g, zero::<B>(&y)),
        }
    }
}

fn zero<B: Backend>(like: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_zeros([1].into(), &like.device(), like.dtype().into())
}

#[derive(Debug)]
struct SeededBackward;

impl<B: Backend> Backward<B, 1> for SeededBackward {
    type State = FloatTensor<B>;
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let scale = grads.consume::<B>(&ops.node);
        let [Some(node)] = ops.parents else { return };
        let value = read_sync(B::float_into_data(scale)).expect("the device returns its values").iter::<f64>().next();
        let g = match value {
            Some(scale) if scale != 1.0 => B::float_mul_scalar(ops.state, scale.into()),
            // The scalar itself was differentiated: no pass over g.
            _ => ops.state,
        };
        grads.register::<B>(node.id, g);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::seeded;
    use crate::testing::{tensor, values};

    #[test]
    fn the_gradient_is_the_one_given() {
        let x = tensor(&[1.0, -2.0, 3.0, 0.5, 7.0, -1.0], 3, DType::F64).require_grad();
        let g = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, DType::F64);
        let want = values(x.grad(&(x.clone().exp() * g.clone()).sum().backward()).expect("x takes part"));
        let scalar = seeded(x.clone().exp(), g.clone());
        assert_eq!(values(scalar.clone().detach()), [0.0]);
        assert_eq!(values(x.grad(&scalar.backward()).expect("x takes part")), want);
        // Part of a larger expression.
        let scaled = seeded(x.clone().exp(), g) * -2.0;
        let want: Vec<f64> = want.iter().map(|dx| -2.0 * dx).collect();
        assert_eq!(values(x.grad(&scaled.backward()).expect("x takes part")), want);
    }

    #[test]
    fn infinite_values_do_no_harm() {
        let x = tensor(&[f64::NEG_INFINITY, 0.0], 2, DType::F32).require_grad();
        let gradients = seeded(x.clone() + 1.0, tensor(&[2.0, 3.0], 2, DType::F32)).backward();
        assert_eq!(values(x.grad(&gradients).expect("x takes part")), [2.0, 3.0]);
    }
}
