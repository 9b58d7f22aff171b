package org.crac;

/** Resources failed after it went on; their own errors are the suppressed ones. */
public class RestoreException extends Exception {
    private static final long serialVersionUID = 1;

    public RestoreException() {}

    public RestoreException(String message) {
        super(message);
    }
}
