"""What alignment promises: bounds of stitching risk, Lipschitz certificates."""

from gramian.theory import bounds as bounds, lipschitz as lipschitz
