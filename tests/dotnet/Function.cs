// A function in C# without any library beyond the framework's own: the loop over the Lambda Runtime API, and a handler that
// exercises what a managed runtime needs of its sandbox: compilation at run time, garbage collection, threads, sockets.
using System;
using System.Linq;
using System.Net.Http;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;

static class Function
{
    static int calls;

    static string Handle(JsonElement e)
    {
        string name = e.GetProperty("name").GetString();
        if (name == "fail") throw new InvalidOperationException("as asked");
        if (name == "exit") Environment.Exit(3);
        Console.WriteLine("greeting " + name);
        long sum = Enumerable.Range(0, 8).AsParallel().Select(n => Sum(n)).Sum();
        for (int i = 0; i < 200; i++) GC.KeepAlive(new byte[1000000]);
        GC.Collect();
        return JsonSerializer.Serialize(new {
            message = "Hello, " + name + "!", calls = ++calls, sum, collections = GC.CollectionCount(0),
            runtime = Environment.Version.ToString(), os = Environment.OSVersion.Platform.ToString(),
            cpus = Environment.ProcessorCount });
    }

    static long Sum(int from)
    {
        long sum = 0;
        for (int i = from; i < 1000000; i += 8) sum += i;
        return sum;
    }

    static async Task Serve()
    {
        string api = "http://" + Environment.GetEnvironmentVariable("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/";
        var client = new HttpClient { Timeout = System.Threading.Timeout.InfiniteTimeSpan };
        while (true)
        {
            var next = await client.GetAsync(api + "next");
            next.EnsureSuccessStatusCode();
            string id = next.Headers.GetValues("Lambda-Runtime-Aws-Request-Id").First();
            string where = "response", body;
            try
            {
                body = Handle(JsonDocument.Parse(await next.Content.ReadAsStringAsync()).RootElement);
            }
            catch (Exception error)
            {
                where = "error";
                body = JsonSerializer.Serialize(new { errorMessage = error.Message, errorType = error.GetType().Name });
            }
            var told = await client.PostAsync(api + id + "/" + where, new StringContent(body, Encoding.UTF8, "application/json"));
            told.EnsureSuccessStatusCode();
        }
    }

    static void Main()
    {
        Serve().GetAwaiter().GetResult();
    }
}
