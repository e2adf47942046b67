"""Networks that others trained, as denoisers: other parametrisations, torch modules, folders of diffusers."""
