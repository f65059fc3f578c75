/* SQLite's files on the simulated disk. */
#ifndef MAILHAUL_SQLITE_VFS_SIM_H
#define MAILHAUL_SQLITE_VFS_SIM_H

/* Make the simulated disk this process's default VFS; once per process, before SQLite is used. */
void sqlite_vfs_sim_register(void);

#endif
