// Opens a host file by its handle number, past every path. Source: "shocker" (2014), open_by_handle_at(2).
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('files cannot be opened by handle', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
handle = struct.pack('iiQ', 8, 1, 2)
root = os.open('/usr', os.O_RDONLY)
attempt('open', lambda: syscall('open_by_handle_at', root, ctypes.create_string_buffer(handle), os.O_RDONLY))
attempt('name', lambda: syscall('name_to_handle_at', root, b'bin', ctypes.create_string_buffer(128), ctypes.byref(ctypes.c_int()), 0))
`);
  expectRefused(result, ['open', 'name'], ['EPERM', 'ENOSYS']);
  expectRecorded(box);
});
