package org.crac;

import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.List;

/** The context that Neap tells of a function's snapshot. */
public final class Core {
    private static final Context<Resource> GLOBAL = new Global();

    private Core() {}

    public static Context<Resource> getGlobalContext() {
        return GLOBAL;
    }

    /** When snapshots are taken is Neap's matter. */
    public static void checkpointRestore() throws CheckpointException, RestoreException {
        throw new UnsupportedOperationException("snapshots are taken when a version is published");
    }

    private static final class Global extends Context<Resource> {
        private final List<WeakReference<Resource>> registered = new ArrayList<>();

        @Override
        public synchronized void register(Resource resource) {
            if (resource == null) {
                throw new NullPointerException("resource");
            }
            registered.add(new WeakReference<>(resource));
        }

        private synchronized List<Resource> alive() {
            List<Resource> all = new ArrayList<>();
            for (WeakReference<Resource> one : registered) {
                Resource resource = one.get();
                if (resource != null) {
                    all.add(resource);
                }
            }
            return all;
        }

        /** In the reverse order of their registration, all of them even where some fail. */
        @Override
        public void beforeCheckpoint(Context<? extends Resource> context) throws CheckpointException {
            CheckpointException failed = null;
            List<Resource> all = alive();
            for (int i = all.size() - 1; i >= 0; i--) {
                try {
                    all.get(i).beforeCheckpoint(this);
                } catch (Exception error) {
                    failed = failed == null ? new CheckpointException(error.toString()) : failed;
                    failed.addSuppressed(error);
                }
            }
            if (failed != null) {
                throw failed;
            }
        }

        /** In the order of their registration. */
        @Override
        public void afterRestore(Context<? extends Resource> context) throws RestoreException {
            RestoreException failed = null;
            for (Resource resource : alive()) {
                try {
                    resource.afterRestore(this);
                } catch (Exception error) {
                    failed = failed == null ? new RestoreException(error.toString()) : failed;
                    failed.addSuppressed(error);
                }
            }
            if (failed != null) {
                throw failed;
            }
        }
    }
}
