package neap.boot;

import com.amazonaws.services.lambda.runtime.LambdaRuntimeInternal;
import java.io.File;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.crac.Context;
import org.crac.Core;
import org.crac.Resource;

/**
 * Runs a Lambda function written in Java: loads the handler, then answers events that come over descriptor 3.
 *
 * <p>The protocol is described in {@code frames.rs}, the behaviour follows Lambda's managed runtimes. The user's classes have a
 * loader of their own below this one, so that the interfaces of this program are theirs, whatever copies they bring.
 */
public final class Main {
    private static final String TRACE_PROPERTY = "com.amazonaws.xray.traceHeader";

    private Main() {}

    public static void main(String[] arguments) throws IOException {
        if (arguments.length == 1 && arguments[0].equals("rehearse")) {
            Rehearsal.run();
            return;
        }
        Log.redirect();
        Channel channel = new Channel();
        if (Cell.isThis() && !Cell.become(channel)) {
            Runtime.getRuntime().halt(0);
            return;
        }
        Log.configure();
        ClassLoader loader = new URLClassLoader(classPath(), Main.class.getClassLoader());
        Thread.currentThread().setContextClassLoader(loader);
        channel.send(Channel.BOOTED);
        Handler handler;
        try {
            handler = Handler.load(System.getenv("_HANDLER"), loader);
        } catch (Throwable error) {
            end(channel, Channel.INIT_ERROR, Fault.typeOf(error), error);
            return;
        }
        if ("snap-start".equals(System.getenv("AWS_LAMBDA_INITIALIZATION_TYPE"))) {
            if (!waitAsSnapshot(channel)) {
                return;
            }
        } else {
            System.out.flush();
            channel.send(Channel.READY);
        }
        serve(channel, handler, loader);
    }

    /** Runs what the function has registered for SnapStart, before and after the process waits; whether to serve. */
    private static boolean waitAsSnapshot(Channel channel) throws IOException {
        Context<Resource> context = Core.getGlobalContext();
        try {
            context.beforeCheckpoint(null);
        } catch (Throwable error) {
            end(channel, Channel.INIT_ERROR, "Runtime.BeforeCheckpointError", error);
            return false;
        }
        System.out.flush();
        channel.send(Channel.READY);
        if (channel.frame(Channel.RESTORE) == null) {
            Runtime.getRuntime().halt(0);
            return false;
        }
        try {
            context.afterRestore(null);
        } catch (Throwable error) {
            end(channel, Channel.RESTORE_ERROR, "Runtime.AfterRestoreError", error);
            return false;
        }
        System.out.flush();
        channel.send(Channel.RESTORED);
        return true;
    }

    /** Tells an error after which nothing is served, and ends. */
    private static void end(Channel channel, int kind, String type, Throwable error) throws IOException {
        Fault.strip(error);
        Log.error(Fault.line(error));
        channel.sendError(kind, type, Fault.report(error));
        System.exit(1);
    }

    private static void serve(Channel channel, Handler handler, ClassLoader loader) throws IOException {
        Answer answer = new Answer();
        while (true) {
            Channel.Event event = channel.receive();
            if (event == null) {
                Runtime.getRuntime().halt(0);
                return;
            }
            answer.reset();
            try {
                System.setProperty(TRACE_PROPERTY, event.trace);
                Invocation invocation = new Invocation(event);
                Log.of(invocation);
                if (LambdaRuntimeInternal.getUseLog4jAppender()) {
                    Log4j.put(loader, event.requestId);
                }
                handler.call(event.payload, answer, invocation);
                System.out.flush();
                channel.respond(answer);
            } catch (Throwable error) {
                fail(channel, error);
            }
            // What a handler left set would break the next invocation's waiting.
            Thread.interrupted();
        }
    }

    private static void fail(Channel channel, Throwable error) {
        boolean isLast = error instanceof VirtualMachineError || error instanceof java.io.IOError;
        try {
            Fault.strip(error);
            Log.error(Fault.line(error));
            int kind = isLast ? Channel.FINAL_ERROR : Channel.ERROR;
            channel.sendError(kind, Fault.typeOf(error), Fault.report(error));
        } catch (Throwable another) {
            // There is no memory even for that: the daemon says that this process has ended. Threads of the user do not keep it.
            Runtime.getRuntime().halt(1);
        }
        if (isLast) {
            // Memory ran out or the machine is broken: nothing after that can be relied on.
            System.exit(1);
        }
    }

    /** The package's own classes, its libraries, those of layers; in this order, libraries by name. */
    static URL[] classPath() throws MalformedURLException {
        String root = System.getenv("LAMBDA_TASK_ROOT");
        List<URL> all = new ArrayList<>();
        all.add(new File(root).toURI().toURL());
        addLibraries(new File(root, "lib"), all);
        addLibraries(new File("/opt/java/lib"), all);
        return all.toArray(new URL[0]);
    }

    /** Where the classes of this program are. */
    static URL[] ownPath() {
        return new URL[] {Main.class.getProtectionDomain().getCodeSource().getLocation()};
    }

    private static void addLibraries(File folder, List<URL> all) throws MalformedURLException {
        String[] names = folder.list();
        if (names == null) {
            return;
        }
        Arrays.sort(names);
        for (String name : names) {
            if (name.endsWith(".jar")) {
                all.add(new File(folder, name).toURI().toURL());
            }
        }
    }
}
