"""Networks with 8-bit weights and activations that lose no more accuracy than is allowed, measured on the device."""
