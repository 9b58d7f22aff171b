package org.crac;

/** What is told before its process waits as a snapshot, and when it goes on. */
public interface Resource {
    void beforeCheckpoint(Context<? extends Resource> context) throws Exception;

    void afterRestore(Context<? extends Resource> context) throws Exception;
}
