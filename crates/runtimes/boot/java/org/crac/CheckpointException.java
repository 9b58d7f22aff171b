package org.crac;

/** Resources failed before a process waited as a snapshot; their own errors are the suppressed ones. */
public class CheckpointException extends Exception {
    private static final long serialVersionUID = 1;

    public CheckpointException() {}

    public CheckpointException(String message) {
        super(message);
    }
}
