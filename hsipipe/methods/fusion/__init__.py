"""Code shared by the methods that fuse an LR-HSI with an HR-MSI."""
