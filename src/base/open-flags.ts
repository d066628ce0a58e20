/** open(2): names a file without opening it. Node has no name for it. */
export const O_PATH = 0o10000000;
