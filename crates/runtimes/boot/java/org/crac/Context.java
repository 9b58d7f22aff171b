package org.crac;

/** Resources that are told together. */
public abstract class Context<R extends Resource> implements Resource {
    protected Context() {}

    @Override
    public abstract void beforeCheckpoint(Context<? extends Resource> context) throws CheckpointException;

    @Override
    public abstract void afterRestore(Context<? extends Resource> context) throws RestoreException;

    /** Has {@code resource} told as long as something else holds it: a context does not. */
    public abstract void register(R resource);
}
