"""A GRU layer that trains faster on a processor: PyTorch's own, with a backward pass written out.

PyTorch differentiates its GRU operation by operation: at every frame the gradient of the recurrent weights is a small
matrix product of its own, and a dozen intermediate tensors are made and kept. Here a layer is one function. Its
backward pass gathers the gates' gradients of all frames, so that those of the weights are one product each, and has
fewer operations at a frame. It pays in bfloat16, where products are cheap and the rest counts (benchmarks/training.py);
elsewhere PyTorch's own is as fast and is used, also for everything that is measured or exported.

The equations are PyTorch's (`torch.nn.GRU`; Cho et al., 2014, with the reset gate after the product):

    r = σ(W_ir x + b_ir + W_hr h + b_hr)        n = tanh(W_in x + b_in + r ∘ (W_hn h + b_hn))
    z = σ(W_iz x + b_iz + W_hz h + b_hz)        h' = n + z ∘ (h − n)

As under PyTorch's autocast, products and gates are in bfloat16, the state and its gradient in float32: a state that
changes by little at a frame would else not change at all.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward


class GRU(nn.GRU):
    """One layer, batches first; weights, states and results are `torch.nn.GRU`'s."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size, batch_first=True)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, I) and the state before it (1, B, H) to (B, T, H) and the state after it (1, B, H)."""
        in_bfloat16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        if not (in_bfloat16 and torch.is_grad_enabled() and x.device.type == "cpu"):
            return super().forward(x, h)
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0)
        with torch.autocast("cpu", enabled=False):
            x, *weights = (tensor.to(torch.bfloat16) for tensor in (x, *weights))
            y, after = Recurrence.apply(x, h[0].float(), *weights)
        return y, after[None]


class Recurrence(torch.autograd.Function):
    """All frames of a GRU layer. The state may be of a wider type than the rest."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, h: Tensor, w_i: Tensor, w_h: Tensor, b_i: Tensor, b_h: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, T, I), (B, H), (3H, I), (3H, H), (3H,), (3H,) to (B, T, H) and (B, H), both of the state's type."""
        clips, frames, inputs = x.shape
        size = w_h.shape[1]
        x = x.transpose(0, 1).reshape(frames * clips, inputs)
        gates = torch.addmm(b_i, x, w_i.t()).view(frames, clips, 3 * size)  # becomes r, z, n
        recurrent = x.new_empty(clips, 3 * size)  # W_h h + b_h at a frame
        candidates = x.new_empty(frames, clips, size)  # W_hn h + b_hn, which the backward pass needs
        states = x.new_empty(frames, clips, size)  # before each frame, for products
        y = h.new_empty(frames, clips, size)
        r, z, n = frames_of(gates, size)
        both, c, outputs = gates[..., : 2 * size].unbind(0), candidates.unbind(0), y.unbind(0)
        recurrent_both, recurrent_n = recurrent[:, : 2 * size], recurrent[:, 2 * size :]
        for t, state in enumerate(states.unbind(0)):
            torch.addmm(b_h, state.copy_(h), w_h.t(), out=recurrent)
            both[t].add_(recurrent_both).sigmoid_()
            c[t].copy_(recurrent_n)
            n[t].addcmul_(r[t], recurrent_n).tanh_()
            h = torch.sub(h, n[t], out=outputs[t]).mul_(z[t]).add_(n[t])
        ctx.save_for_backward(x, gates, candidates, states, w_i, w_h)
        return y.transpose(0, 1), h.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dy: Tensor, dh: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the results to those of the arguments."""
        x, gates, candidates, states, w_i, w_h = ctx.saved_tensors
        frames, clips, size = candidates.shape
        # Of W_hn h + b_hn, then of what r, z and n were made from. So the first three belong to the state, in the order
        # n, r, z, and the last three to the input.
        sums = x.new_empty(frames, clips, 4 * size)
        w_h = w_h.roll(size, 0)  # n, r, z
        of_state = sums[..., : 3 * size].unbind(0)
        dc, dr, dz, dn = frames_of(sums, size)
        (r, z, n), h, c = frames_of(gates, size), states.unbind(0), candidates.unbind(0)
        dy = dy.transpose(0, 1).unbind(0)
        dh, kept, product = dh.clone(), torch.empty_like(dh), x.new_empty(clips, size)
        for t in reversed(range(frames)):
            dh.add_(dy[t])
            sigmoid_backward(torch.sub(h[t], n[t], out=product).mul_(dh), z[t], grad_input=dz[t])
            torch.mul(dh, z[t], out=kept)
            tanh_backward(product.copy_(dh.sub_(kept)), n[t], grad_input=dn[t])
            sigmoid_backward(torch.mul(dn[t], c[t], out=product), r[t], grad_input=dr[t])
            torch.mul(dn[t], r[t], out=dc[t])
            torch.add(kept, torch.mm(of_state[t], w_h, out=product), out=dh)
        sums = sums.view(frames * clips, 4 * size)
        of_state, of_input = sums[:, : 3 * size], sums[:, size:]
        db = (sums.new_ones(1, len(sums)) @ sums)[0]  # a product is faster than a sum over rows, and adds in float32
        dx = (of_input @ w_i).view(frames, clips, -1).transpose(0, 1) if ctx.needs_input_grad[0] else None
        dw_h = of_state.t() @ states.view(frames * clips, size)
        return dx, dh, of_input.t() @ x, dw_h.roll(-size, 0), db[size:], db[: 3 * size].roll(-size, 0)


def frames_of(blocks: Tensor, size: int) -> list[tuple[Tensor, ...]]:
    """(T, B, k·size) to k tuples of T views (B, size)."""
    return [block.unbind(0) for block in blocks.split(size, dim=-1)]
