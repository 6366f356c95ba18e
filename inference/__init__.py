"""From voxels to findings; knows no network and no database."""
